package secrecy

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/internal/fault"
	"tidemark/internal/keys"
)

// world is a server, an archive of it, and the secrets.
type world struct {
	t      *testing.T
	srv    *servertest.Server
	dir    string
	tool   string
	config string

	row      string // begins every row
	password string
	first    pair // that the archive is encrypted for at first
	spare    pair // and this one too
	second   pair // and later
	other    pair // that it never is

	said    bytes.Buffer // all that was printed and served
	watched *watch
}

// pair is an identity and its recipient.
type pair struct{ identity, recipient, file string }

func newWorld(t *testing.T, b servertest.Binaries) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), row: "row-" + random(t), password: "pw-" + random(t)}
	var err error
	if w.tool, err = harness.Build(w.dir); err != nil {
		t.Fatal(err)
	}
	w.first, w.spare, w.second, w.other = w.keygen("first"), w.keygen("spare"), w.keygen("second"), w.keygen("other")
	w.srv = servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b})
	if b.Flavor == servertest.MySQL {
		w.srv.Exec("INSTALL PLUGIN clone SONAME 'mysql_clone.so'")
	}
	w.srv.CreateUser(servertest.User, w.password)
	w.configure(w.first.recipient, w.spare.recipient)
	w.watched = startWatch(t, w.secret())
	return w
}

func random(t *testing.T) string {
	t.Helper()
	b := make([]byte, 12)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

// keygen makes a pair as a person does.
func (w *world) keygen(name string) pair {
	w.t.Helper()
	p := pair{file: filepath.Join(w.dir, name+".identity")}
	out, err := exec.Command(w.tool, "keygen", "--output", p.file).Output()
	if err != nil {
		w.t.Fatal(err)
	}
	p.recipient = strings.TrimSpace(strings.TrimPrefix(string(out), "Public key: "))
	data, err := os.ReadFile(p.file)
	if err != nil {
		w.t.Fatal(err)
	}
	ids, err := keys.ParseIdentities(p.file, data)
	if err != nil || !ids.AnyOf([]string{keys.Fingerprint(p.recipient)}) {
		w.t.Fatalf("keygen printed %q and wrote another: %v", out, err)
	}
	if info, err := os.Stat(p.file); err != nil || info.Mode().Perm() != 0o600 {
		w.t.Errorf("the identity's file has mode %v, %v", info.Mode(), err)
	}
	lines := strings.Fields(string(data))
	p.identity = lines[len(lines)-1]
	if again := exec.Command(w.tool, "keygen", "--output", p.file); again.Run() == nil || again.ProcessState.ExitCode() != fault.TargetNotEmpty.ExitCode() {
		w.t.Error("keygen wrote over an identity")
	}
	return p
}

// configure writes the configuration. There is no file of identities where it names one: what archives
// must not ask for it.
func (w *world) configure(recipients ...string) {
	w.t.Helper()
	path, err := harness.Config{Dir: w.dir, Primary: w.srv.Addr, User: servertest.User, Password: w.password,
		More: "    segment: {max_age: 100ms}\n    heartbeat: 1s\n    base: {schedule: \"0 3 * * *\"}\n"}.Write()
	if err != nil {
		w.t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	list := strings.Join(recipients, ", ")
	w.write(path, string(data)+"encryption: {recipients: ["+list+"]}\n")
	w.write(filepath.Join(w.dir, "run.yaml"), string(data)+"encryption: {recipients: ["+list+"], identity_file: "+w.dir+"/no-such-file}\n")
	w.config = path
}

func (w *world) write(path, text string) {
	w.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// insert writes rows, each in a transaction of its own, and one statement that spells a row out.
func (w *world) insert(n int) {
	w.t.Helper()
	for i := range n {
		w.srv.Exec(fmt.Sprintf("INSERT INTO d.t (v) VALUES ('%s number %d')", w.row, i))
	}
	w.srv.Exec("ALTER TABLE d.t COMMENT '" + w.row + "'")
}

func (w *world) start() *harness.Daemon {
	w.t.Helper()
	d, err := harness.Start(w.tool, filepath.Join(w.dir, "run.yaml"), filepath.Join(w.dir, "run.log"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = d.Stop() })
	return d
}

func (w *world) stop(d *harness.Daemon) {
	w.t.Helper()
	if err := d.Stop(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) await(d *harness.Daemon, ok func(harness.Status) bool) {
	w.t.Helper()
	if err := d.Await(context.Background(), time.Minute, ok); err != nil {
		w.t.Fatal(err)
	}
}

// run runs tidemark, which must end as the kind says, and returns what it printed.
func (w *world) run(kind fault.Kind, args ...string) string {
	w.t.Helper()
	cmd := exec.Command(w.tool, append(args, "--config", w.config)...)
	switch config := &cmd.Args[len(cmd.Args)-1]; args[0] {
	case "status":
		*config = filepath.Join(w.dir, "status.yaml")
	case "backup":
		*config = filepath.Join(w.dir, "run.yaml")
	}
	out, err := cmd.CombinedOutput()
	w.said.Write(out)
	code := 0
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		w.t.Fatal(err)
	}
	if code != kind.ExitCode() {
		w.t.Fatalf("tidemark %s: exit %d, %d expected\n%s", strings.Join(args, " "), code, kind.ExitCode(), out)
	}
	return string(out)
}

// listen keeps all that the status port serves, and lets `tidemark status` find it.
func (w *world) listen(d *harness.Daemon) {
	w.t.Helper()
	data, err := os.ReadFile(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(filepath.Join(w.dir, "status.yaml"), strings.Replace(string(data), `"127.0.0.1:0"`, `"`+d.Addr+`"`, 1))
	for _, page := range []string{"/", "/status", "/metrics", "/healthz", "/readyz"} {
		r, err := http.Get("http://" + d.Addr + page)
		if err != nil {
			w.t.Fatal(err)
		}
		n, err := io.Copy(&w.said, r.Body)
		r.Body.Close()
		if err != nil || n == 0 {
			w.t.Errorf("%s serves %d bytes, %v", page, n, err)
		}
	}
}
