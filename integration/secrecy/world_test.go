package secrecy

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
	"tidemark/internal/keys"
)

// world is a server, an archive of it, and the secrets.
type world struct {
	*kit.World
	plain string // the configuration without encryption

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
	w := &world{row: "row-" + random(t), password: "pw-" + random(t)}
	w.World = kit.New(t, kit.Setup{Binaries: b, Password: w.password,
		SQL:     []string{"CREATE DATABASE d", "CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(200))"},
		Cluster: []string{"segment: {max_age: 100ms}", "heartbeat: 1s", `base: {schedule: "0 3 * * *"}`}})
	w.plain = w.read(w.Config)
	w.first, w.spare, w.second, w.other = w.keygen("first"), w.keygen("spare"), w.keygen("second"), w.keygen("other")
	w.encrypt(w.first.recipient, w.spare.recipient)
	w.watched = startWatch(t, w.Dir, w.secret())
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
	w.T.Helper()
	p := pair{file: filepath.Join(w.Dir, name+".identity")}
	out, err := w.Tool.Command("keygen", "--output", p.file).Output()
	if err != nil {
		w.T.Fatal(err)
	}
	p.recipient = strings.TrimSpace(strings.TrimPrefix(string(out), "Public key: "))
	data := w.read(p.file)
	ids, err := keys.ParseIdentities(p.file, []byte(data))
	if err != nil || !ids.AnyOf([]string{keys.Fingerprint(p.recipient)}) {
		w.T.Fatalf("keygen printed %q and wrote another: %v", out, err)
	}
	if info, err := os.Stat(p.file); err != nil || info.Mode().Perm() != 0o600 {
		w.T.Errorf("the identity's file has mode %v, %v", info.Mode(), err)
	}
	lines := strings.Fields(data)
	p.identity = lines[len(lines)-1]
	if err := w.Tool.Command("keygen", "--output", p.file).Run(); kit.ExitCode(err) != fault.TargetNotEmpty.ExitCode() {
		w.T.Error("keygen wrote over an identity")
	}
	return p
}

// encrypt writes the configuration with recipients. There is no file of identities where it names one: what
// archives must not ask for it.
func (w *world) encrypt(recipients ...string) {
	w.T.Helper()
	list := "encryption: {recipients: [" + strings.Join(recipients, ", ") + "]"
	w.write(w.Config, w.plain+list+"}\n")
	w.write(w.file("run.yaml"), w.plain+list+", identity_file: "+w.file("no-such-file")+"}\n")
}

// file is a path in the world's directory.
func (w *world) file(name string) string { return filepath.Join(w.Dir, name) }

func (w *world) read(path string) string {
	w.T.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		w.T.Fatal(err)
	}
	return string(data)
}

func (w *world) write(path, text string) {
	w.T.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.T.Fatal(err)
	}
}

// insert writes rows, each in a transaction of its own, and one statement that spells a row out.
func (w *world) insert(n int) {
	w.T.Helper()
	for i := range n {
		w.Server.Exec(fmt.Sprintf("INSERT INTO d.t (v) VALUES ('%s number %d')", w.row, i))
	}
	w.Server.Exec("ALTER TABLE d.t COMMENT '" + w.row + "'")
}

// start starts tidemark run as the configuration for it says.
func (w *world) start() {
	w.T.Helper()
	usual := w.Config
	w.Config = w.file("run.yaml")
	w.Start()
	w.Config = usual
}

// run runs tidemark, which must end as the kind says, and returns what it printed.
func (w *world) run(kind fault.Kind, args ...string) string {
	w.T.Helper()
	config := w.Config
	switch args[0] {
	case "status":
		config = w.file("status.yaml")
	case "backup":
		config = w.file("run.yaml")
	}
	out, err := w.Tool.Command(append(args, "--config", config)...).CombinedOutput()
	w.said.Write(out)
	if code := kit.ExitCode(err); code != kind.ExitCode() {
		w.T.Fatalf("tidemark %s: %v, exit %d expected\n%s", strings.Join(args, " "), err, kind.ExitCode(), out)
	}
	return string(out)
}

// listen keeps all that the status port serves, and lets `tidemark status` find it.
func (w *world) listen() {
	w.T.Helper()
	w.write(w.file("status.yaml"), strings.Replace(w.read(w.Config), `"127.0.0.1:0"`, `"`+w.Daemon.Addr+`"`, 1))
	for _, page := range []string{"/", "/status", "/metrics", "/healthz", "/readyz"} {
		r, err := http.Get("http://" + w.Daemon.Addr + page)
		if err != nil {
			w.T.Fatal(err)
		}
		n, err := io.Copy(&w.said, r.Body)
		r.Body.Close()
		if err != nil || n == 0 {
			w.T.Errorf("%s serves %d bytes, %v", page, n, err)
		}
	}
}
