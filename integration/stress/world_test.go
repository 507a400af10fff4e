// Package stress tests what a stream must survive: sources that encrypt or compress, transactions larger
// than any memory, connections that are cut, stalled and damaged, and other replicas that take our name.
package stress

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/integration/workload"
)

// world is a primary and the program that archives it.
type world struct {
	t    *testing.T
	dir  string
	tool string
	cfg  string
	srv  *servertest.Server
	d    *harness.Daemon
}

// newWorld starts a server, and configures the archive of it; addr is where it is reached, "" for directly.
func newWorld(t *testing.T, b servertest.Binaries, options []string, addr, more string) *world {
	t.Helper()
	harness.Use(t, b)
	w := &world{t: t, dir: t.TempDir()}
	var err error
	if w.tool, err = harness.Build(w.dir); err != nil {
		t.Fatal(err)
	}
	w.srv = servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b, Extra: options})
	w.srv.CreateUser(servertest.User, "secret")
	if b.Flavor == servertest.MySQL {
		w.srv.Exec("INSTALL PLUGIN clone SONAME 'mysql_clone.so'")
	}
	w.configure(addr, more)
	return w
}

// configure writes the configuration.
func (w *world) configure(addr, more string) {
	w.t.Helper()
	if addr == "" {
		addr = w.srv.Addr
	}
	var err error
	if w.cfg, err = (harness.Config{Dir: w.dir, Primary: addr, User: servertest.User, Password: "secret", More: more}).Write(); err != nil {
		w.t.Fatal(err)
	}
}

// start starts `tidemark run`; it is killed when the test ends.
func (w *world) start() {
	w.t.Helper()
	d, err := harness.Start(w.tool, w.cfg, filepath.Join(w.dir, "run.log"))
	if err != nil {
		w.t.Fatal(err)
	}
	d.BackupsMayFail = true // a killed one's copy may be taken for one that is still under way
	w.d = d
	w.t.Cleanup(d.Kill)
}

func (w *world) await(what string, limit time.Duration, ok func(harness.Status) bool) {
	w.t.Helper()
	if err := w.d.Await(context.Background(), limit, ok); err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
}

// dial opens a session of root.
func (w *world) dial() (*client.Conn, error) { return w.srv.Process.Conn() }

// archived waits until all that the server has is archived. The server may still add a checkpoint event
// to a new file, so the end is what the status says.
func (w *world) archived(limit time.Duration) {
	w.t.Helper()
	status := "SHOW MASTER STATUS"
	if w.srv.Binaries.Flavor == servertest.MySQL {
		status = "SHOW BINARY LOG STATUS"
	}
	end := w.srv.Query(status)[0]
	offset := number(w.t, end[1])
	w.await("all is archived", limit, func(s harness.Status) bool {
		return s.Primary.File == end[0] && s.Primary.Offset >= offset && s.Archived.File == end[0] && s.Archived.Offset == s.Primary.Offset
	})
}

// number reads what the server says.
func number(t *testing.T, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// run runs tidemark, which must end with one of the exit codes, and returns what it printed.
func (w *world) run(codes []int, args ...string) string {
	w.t.Helper()
	var said, noise bytes.Buffer
	cmd := exec.Command(w.tool, append(args, "--config", w.cfg)...)
	cmd.Stdout, cmd.Stderr = &said, &noise
	err := cmd.Run()
	for _, code := range codes {
		if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == code {
			return said.String()
		}
	}
	w.t.Fatalf("tidemark %s: %v\n%s%s", strings.Join(args, " "), err, said.String(), noise.String())
	return ""
}

// ok are the exit codes of what has worked.
var ok = []int{0, 3}

// files writes the archived binlog files out and returns their directory.
func (w *world) files() string {
	w.t.Helper()
	out := w.t.TempDir()
	w.run(ok, "cat", "shop", "--output", out)
	return out
}

// compare finds the server's own binlog files in the archive, byte for byte. The last may have grown.
func (w *world) compare() {
	w.t.Helper()
	w.compareWith(w.srv.Datadir)
}

// compareWith compares the archived files with those in a directory.
func (w *world) compareWith(dir string) {
	w.t.Helper()
	out := w.files()
	rows := w.srv.Query("SHOW BINARY LOGS")
	for i, row := range rows {
		n, err := sameFile(filepath.Join(out, row[0]), filepath.Join(dir, row[0]), i == len(rows)-1)
		if err != nil {
			w.t.Errorf("%s: %v", row[0], err)
		}
		w.t.Logf("%s: %d bytes compared", row[0], n)
	}
	if err := os.RemoveAll(out); err != nil {
		w.t.Fatal(err)
	}
}

// restored restores all that is archived and compares it with the primary, to which nothing writes any more.
func (w *world) restored() {
	w.t.Helper()
	truth, err := workload.Take(w.srv.Conn(), "the end")
	if err != nil {
		w.t.Fatal(err)
	}
	again := harness.Restored(w.t, w.srv.Binaries, w.tool, w.cfg, filepath.Join(w.dir, "restored"))
	if err := workload.Compare(again.Conn(), truth); err != nil {
		w.t.Error(err)
	}
}

// inUse is where the flag of a binlog file lies that says that it is open.
const inUse = 4 + 17

// sameFile compares an archived binlog file with the original, which may be longer if it is open.
func sameFile(archived, original string, open bool) (int64, error) {
	a, err := os.Open(archived)
	if err != nil {
		return 0, err
	}
	defer a.Close()
	return same(a, original, open)
}

// same compares what is archived of a binlog file with the original.
func same(archived io.Reader, original string, open bool) (int64, error) {
	b, err := os.Open(original)
	if err != nil {
		return 0, err
	}
	defer b.Close()
	have, own := bufio.NewReaderSize(archived, 1<<20), bufio.NewReaderSize(b, 1<<20)
	p, q := make([]byte, 1<<20), make([]byte, 1<<20)
	for at := int64(0); ; {
		n, err := io.ReadFull(have, p)
		if n == 0 {
			if _, more := own.Peek(1); more == nil && !open {
				return at, fmt.Errorf("%d bytes are archived, and there are more", at)
			}
			return at, nil
		}
		if m, _ := io.ReadFull(own, q[:n]); m < n {
			return at, fmt.Errorf("more than %d bytes are archived of %d", at+int64(m), at+int64(m))
		}
		if at == 0 && n > inUse {
			p[inUse], q[inUse] = p[inUse]&^1, q[inUse]&^1
		}
		if !bytes.Equal(p[:n], q[:n]) {
			for i := range n {
				if p[i] != q[i] {
					return at, fmt.Errorf("they differ at byte %d", at+int64(i))
				}
			}
		}
		if at += int64(n); err != nil && err != io.ErrUnexpectedEOF {
			return at, err
		}
	}
}
