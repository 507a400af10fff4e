package kit

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/integration/kit/servertest"
	"tidemark/internal/gtid"
)

// World is a primary and the program that archives it as the cluster shop. Its methods end the test
// instead of returning an error.
type World struct {
	T        *testing.T
	Dir      string // of the archive, the state, the configuration and the log
	Server   *servertest.Server
	DB       string // of the primary, this world's own, if it is shared
	Tool     Tool
	Config   string  // path of the configuration
	Identity string  // path of the file that opens the archive; "" where Setup.Encrypted is not set
	Daemon   *Daemon // the one started last

	setup     Setup
	publicKey string // of Identity
}

// Setup says what a world is like. The zero value is the MariaDB of this machine, archived with short
// intervals.
type Setup struct {
	Binaries  servertest.Binaries
	Server    *servertest.Server // a primary that is there, with its account; one is started if nil
	Shared    bool               // that primary is servertest.Shared, with the database World.DB
	Options   []string           // of the server that is started: "--max-binlog-size=4M"
	Env       []string           // of that server, beside our own: "TZ=Europe/Berlin"
	SQL       []string           // executed before it is archived
	User      string             // the account that archives; servertest.User if ""
	Password  string             // of the account; Password if ""
	Addr      string             // where the program reaches it; the server itself if ""
	Archive   string             // URL; the directory "archive" of World.Dir if ""
	Storage   string             // the section storage of the configuration
	Cluster   []string           // lines of the cluster's section; Brisk if nil
	Encrypted bool               // for an identity that only World.Identity names
}

// Brisk are the lines of a cluster's configuration by which nothing waits for a clock for long.
var Brisk = []string{"segment: {max_age: 200ms}", "heartbeat: 1s"}

// Password is that of the account that archives, unless its Setup has another.
const Password = "secret"

// PrimaryID is the server ID of a World's primary.
const PrimaryID = 7

// patience is how long an event may take that takes a second on a machine that does nothing else.
const patience = 3 * time.Minute

// New starts a primary and configures its archive. Nothing is archived yet.
func New(t *testing.T, s Setup) *World {
	t.Helper()
	w := &World{T: t, Dir: t.TempDir(), Server: s.Server, setup: s}
	switch {
	case s.Shared:
		w.Server = servertest.Shared(t, s.Binaries, Password)
		w.DB = w.Server.Database()
	case w.Server == nil:
		w.Server = servertest.Start(t, servertest.Options{ServerID: PrimaryID, Binaries: s.Binaries, Extra: s.Options, Env: s.Env})
		if w.Server.Binaries.Flavor == servertest.MySQL {
			w.Server.Exec("INSTALL PLUGIN clone SONAME 'mysql_clone.so'")
		}
		w.Server.CreateUser(cmp.Or(s.User, servertest.User), cmp.Or(s.Password, Password))
	}
	w.Tool = ToolFor(t, w.Server.Binaries)
	w.Server.Exec(s.SQL...)
	w.Configure(func(*Setup) {})
	return w
}

// Archived is New, archived until the test ends, and returns when there is a base backup.
func Archived(t *testing.T, s Setup) *World {
	t.Helper()
	w := New(t, s)
	w.Start()
	w.AwaitBase()
	return w
}

// Configure writes the configuration anew, as changed.
func (w *World) Configure(change func(*Setup)) {
	w.T.Helper()
	s := &w.setup
	change(s)
	if s.Addr == "" {
		s.Addr = w.Server.Addr
	}
	if s.Cluster == nil {
		s.Cluster = Brisk
	}
	c := Config{Dir: w.Dir, Archive: s.Archive, Storage: s.Storage, Primary: s.Addr,
		User: cmp.Or(s.User, servertest.User), Password: cmp.Or(s.Password, Password)}
	for _, line := range s.Cluster {
		c.More += "    " + line + "\n"
	}
	if s.Encrypted {
		c.Recipient = w.recipient()
	}
	var err error
	if w.Config, err = c.Write(); err != nil {
		w.T.Fatal(err)
	}
}

// recipient is that of the world's identity, which is made if there is none yet.
func (w *World) recipient() string {
	w.T.Helper()
	if w.Identity != "" {
		return w.publicKey
	}
	w.Identity = filepath.Join(w.Dir, "identity.key")
	out, err := w.Tool.Command("keygen", "--output", w.Identity).Output()
	if err != nil {
		w.T.Fatalf("tidemark keygen: %v", err)
	}
	w.publicKey = strings.TrimSpace(strings.TrimPrefix(string(out), "Public key: "))
	return w.publicKey
}

// Start starts `tidemark run`. It is killed when the test ends.
func (w *World) Start() {
	w.T.Helper()
	d, err := Start(w.Tool, w.Config, filepath.Join(w.Dir, "run.log"))
	if err != nil {
		w.T.Fatal(err)
	}
	w.Daemon = d
	w.T.Cleanup(d.Kill)
}

// Stop asks `tidemark run` to end, and waits.
func (w *World) Stop() {
	w.T.Helper()
	if err := w.Daemon.Stop(); err != nil {
		w.T.Fatal(err)
	}
}

// Await waits until the status is as wished.
func (w *World) Await(what string, ok func(Status) bool) {
	w.T.Helper()
	w.AwaitWithin(patience, what, ok)
}

// AwaitWithin is Await with a limit of its own.
func (w *World) AwaitWithin(limit time.Duration, what string, ok func(Status) bool) {
	w.T.Helper()
	if err := w.Daemon.Await(context.Background(), limit, ok); err != nil {
		w.T.Fatalf("%s: %v", what, err)
	}
}

// AwaitBase waits until there is a base backup.
func (w *World) AwaitBase() {
	w.T.Helper()
	w.Await("a base backup", func(s Status) bool { return s.LastBackup.ID != "" })
}

// Settle waits until all transactions of the primary are archived, and returns its GTID position.
func (w *World) Settle() string {
	w.T.Helper()
	end := w.Server.Position()
	w.Await("archived to "+end, func(s Status) bool {
		if w.setup.Shared {
			return covers(w.T, s.Archived.GTID, end)
		}
		return s.Archived.GTID == end
	})
	return end
}

// covers tells whether a position holds all of another; where others write too they need not be equal.
func covers(t *testing.T, held, wanted string) bool {
	t.Helper()
	if set, err := gtid.ParseSet(wanted); err == nil {
		has, err := gtid.ParseSet(held)
		return err == nil && has.ContainsSet(set)
	}
	list, err := gtid.ParseList(wanted)
	if err != nil {
		t.Fatal(err)
	}
	has, err := gtid.ParsePosition(held)
	return err == nil && !slices.ContainsFunc(list, func(g gtid.GTID) bool { return has[g.Domain].Seq < g.Seq })
}

// SettleFiles waits until all bytes of the primary's log are archived. The server may still add an event
// to a new file, so the end is what the status says.
func (w *World) SettleFiles() {
	w.T.Helper()
	w.SettleFilesWithin(patience)
}

// SettleFilesWithin is SettleFiles with a limit of its own.
func (w *World) SettleFilesWithin(limit time.Duration) {
	w.T.Helper()
	file, offset := w.Server.LogEnd()
	w.AwaitWithin(limit, fmt.Sprintf("archived to %s:%d", file, offset), func(s Status) bool {
		return s.Primary.File == file && s.Primary.Offset >= offset && s.Archived.File == file && s.Archived.Offset == s.Primary.Offset
	})
}

// End is Settle, and ends archiving.
func (w *World) End() string {
	w.T.Helper()
	end := w.Settle()
	w.Stop()
	return end
}

// Command is a command of the program with the world's configuration, not yet started. The server of a
// restore has little memory, unless the arguments say how much: it would take half of what the machine has
// free, and seconds for it, as if it ran alone.
func (w *World) Command(args ...string) *exec.Cmd {
	args = append(args[:len(args):len(args)], "--config", w.Config)
	if args[0] == "restore" && !slices.Contains(args, "--memory") {
		args = append(args, "--memory", "128MiB")
	}
	return w.Tool.Command(args...)
}

// Run runs the program, which must have worked, if with warnings, and returns what it printed.
func (w *World) Run(args ...string) string {
	w.T.Helper()
	return w.RunTo([]int{0, 3}, args...)
}

// RunTo runs the program, which must end with one of the exit codes, and returns what it printed.
func (w *World) RunTo(codes []int, args ...string) string {
	w.T.Helper()
	said, noise, code := w.try(args)
	if !slices.Contains(codes, code) {
		w.T.Fatalf("tidemark %s: exit %d, want %v\n%s%s", strings.Join(args, " "), code, codes, said, noise)
	}
	return said
}

// Refused runs the program, which must end with the exit code, and returns all that it said.
func (w *World) Refused(code int, args ...string) string {
	w.T.Helper()
	said, noise, got := w.try(args)
	if got != code {
		w.T.Fatalf("tidemark %s: exit %d, want %d\n%s%s", strings.Join(args, " "), got, code, said, noise)
	}
	return said + noise
}

// JSON runs the program with --json, which must have worked, and reads what it printed into v.
func (w *World) JSON(v any, args ...string) {
	w.T.Helper()
	said := w.Run(append(args, "--json")...)
	if err := json.Unmarshal([]byte(said), v); err != nil {
		w.T.Fatalf("tidemark %s: %v\n%s", strings.Join(args, " "), err, said)
	}
}

func (w *World) try(args []string) (said, noise string, code int) {
	w.T.Helper()
	var out, err bytes.Buffer
	compare := w.untouched(args)
	cmd := w.Command(args...)
	cmd.Stdout, cmd.Stderr = &out, &err
	failed := cmd.Run()
	compare()
	if code = ExitCode(failed); code < 0 {
		w.T.Fatalf("tidemark %s: %v\n%s%s", strings.Join(args, " "), failed, out.String(), err.String())
	}
	return out.String(), err.String(), code
}

// Dial opens a session of root; the caller closes it.
func (w *World) Dial() (*client.Conn, error) { return w.Server.Process.Conn() }
