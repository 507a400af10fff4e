package kit

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"tidemark/integration/kit/servertest"
	"tidemark/integration/kit/workload"
)

// Restore restores the cluster, by default all of it, into a new directory, and starts a server on the
// result, which ends with the test.
func (w *World) Restore(args ...string) *servertest.Server {
	w.T.Helper()
	target := filepath.Join(w.T.TempDir(), "restored")
	w.Run(append([]string{"restore", "shop", "--target-dir", target}, args...)...)
	return servertest.Start(w.T, w.onTarget(target))
}

// RestoreEquals restores, and compares what a server on the result holds with what the primary held: every
// table, every definition, and the GTID position.
func (w *World) RestoreEquals(want workload.Checkpoint, args ...string) {
	w.T.Helper()
	target := filepath.Join(w.T.TempDir(), "restored")
	w.Run(append([]string{"restore", "shop", "--target-dir", target}, args...)...)
	w.TargetEquals(target, want)
	if w.T.Failed() {
		w.T.Fatalf("tidemark restore %s", strings.Join(args, " "))
	}
	w.mustRemove(target)
}

// TargetEquals starts a server on a restored directory, for as long as it takes to compare.
func (w *World) TargetEquals(target string, want workload.Checkpoint) {
	w.T.Helper()
	again, err := servertest.Launch(w.onTarget(target))
	if err != nil {
		w.T.Fatal(err)
	}
	defer func() {
		if err := again.Close(); err != nil {
			w.T.Error(err)
		}
	}()
	conn, err := again.Conn()
	if err != nil {
		w.T.Fatal(err)
	}
	defer conn.Close()
	if err := workload.Compare(conn, want); err != nil {
		w.T.Error(err)
		w.trace(err)
	}
	if pos, err := again.AppliedPosition(); err != nil || pos != want.GTIDPos {
		w.T.Errorf("GTID position %s restored, %s expected, %v", pos, want.GTIDPos, err)
	}
	if n, err := again.Value("SELECT COUNT(*) FROM mysql.user WHERE user LIKE 'tidemark%' AND host='localhost'"); err != nil || n != "0" {
		w.T.Errorf("%s private accounts are left, %v", n, err)
	}
}

// onTarget are the options of a server on a restored directory. MySQL starts and ends in two thirds of the
// time without what watches its performance, and makes no keys that nobody asks for.
func (w *World) onTarget(target string) servertest.Options {
	o := servertest.Options{ServerID: 99, Datadir: target, Binaries: w.Server.Binaries}
	if o.Binaries.Flavor == servertest.MySQL {
		o.Extra = []string{"--performance-schema=OFF", "--auto-generate-certs=OFF", "--caching-sha2-password-auto-generate-rsa-keys=OFF"}
	}
	return o
}

// Truth records what the primary holds now. Nothing may write to it meanwhile.
func (w *World) Truth(name string) workload.Checkpoint {
	w.T.Helper()
	conn := w.Server.Conn()
	defer conn.Close()
	cp, err := workload.Take(conn, name)
	if err != nil {
		w.T.Fatal(err)
	}
	return cp
}

// trace says where the log last makes and drops what differs, so that it is known whether the base backup
// should have held it.
func (w *World) trace(err error) {
	w.T.Helper()
	var d *workload.Difference
	if !errors.As(err, &d) {
		return
	}
	for object, how := range d.Found {
		kind, name, _ := strings.Cut(object, " ")
		for _, verb := range []string{"CREATE", "DROP"} {
			statement := verb + " " + strings.ToUpper(kind) + " " + name
			out, err := w.Command("restore", "shop", "--dry-run", "--before-statement", statement).CombinedOutput()
			w.T.Logf("%s %s; the last %s: %v\n%s", object, how, statement, err, out)
		}
		w.mentions(name[strings.LastIndex(name, ".")+1:])
	}
}

// mentions prints what the primary's own binlogs say of a name, each time with the transaction.
func (w *World) mentions(name string) {
	w.T.Helper()
	files, err := filepath.Glob(filepath.Join(w.Server.Datadir, "binlog.[0-9][0-9][0-9][0-9][0-9][0-9]"))
	if err != nil {
		w.T.Error(err)
	}
	for _, f := range files {
		out, err := exec.Command(w.Server.Binaries.Binlog, "--no-defaults", f).Output()
		if err != nil {
			w.T.Error(err)
		}
		transaction := ""
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "GTID_NEXT=") || strings.Contains(line, "\tGTID ") {
				transaction = strings.TrimSpace(line)
			}
			if strings.Contains(line, name) && !strings.HasPrefix(line, "#") {
				w.T.Logf("%s: %s: %.200s", filepath.Base(f), transaction, line)
			}
		}
	}
}

// mustRemove removes a directory that the test has made.
func (w *World) mustRemove(dir string) {
	w.T.Helper()
	if err := os.RemoveAll(dir); err != nil {
		w.T.Fatal(err)
	}
}
