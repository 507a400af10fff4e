package restore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"tidemark/internal/catalog"
	"tidemark/internal/confine"
	"tidemark/internal/fault"
	"tidemark/internal/mysqld"
	"tidemark/internal/xbstream"
)

// fetch reads the parts of the base backup in order and has mbstream extract them into the target.
func (r *run) fetch(ctx context.Context) error {
	r.tracker.total(r.plan.base.PlainBytes, 0)
	var said bytes.Buffer
	cmd := r.command(ctx, r.Tools.Mbstream, "-x", "-C", r.work.target)
	cmd.Stderr = &limited{w: &said, left: 64 << 10}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	rules := r.reach(r.Tools.Mbstream)
	if err := confine.Start(cmd, rules); err != nil {
		return fmt.Errorf("start %s: %w", r.Tools.Mbstream, err)
	}
	var failed error
	var done int64
	// mbstream writes to whatever path the stream says: what is no stream of ours, or leads out of the target, must not reach it.
	inspect := xbstream.NewInspector(xbstream.Mbstream)
	checked := io.MultiWriter(inspect, in)
	for _, p := range r.plan.base.Parts {
		if failed = r.extract(ctx, p, checked, &done); failed != nil {
			break
		}
	}
	if failed != nil && !errors.Is(failed, syscall.EPIPE) {
		_ = cmd.Process.Kill() // it must not take the end of its input for that of the backup
	}
	if err := in.Close(); failed == nil {
		failed = err
	}
	err = cmd.Wait()
	var wrong *xbstream.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(failed, &wrong):
		return fault.New(fault.Integrity, "extract base backup", r.plan.base.ID, failed).
			WithHint("`tidemark verify --data` says whether the archive is damaged; an older base backup may be whole.")
	case failed != nil && !errors.Is(failed, syscall.EPIPE):
		return failed
	case err != nil || failed != nil:
		return fault.New(fault.Other, "extract base backup", r.plan.base.ID,
			fmt.Errorf("mbstream: %w: %s", errors.Join(err, failed), lastLines(said.String(), 5))).WithHint(rules.Explain(said.String()))
	}
	if err := r.checkExtracted(); err != nil {
		return err
	}
	return r.forgetPlaces()
}

// extract writes the plain bytes of a part to mbstream, and checks them.
func (r *run) extract(ctx context.Context, p catalog.Part, in io.Writer, done *int64) error {
	return readPart(ctx, r.c, p, io.MultiWriter(in, writerFunc(func(b []byte) (int, error) {
		*done += int64(len(b))
		r.tracker.reached(*done, 0)
		return len(b), nil
	})))
}

// readPart writes the plain bytes of a part, which are known to be those of the backup when it returns nil.
func readPart(ctx context.Context, c *catalog.Catalog, p catalog.Part, w io.Writer) error {
	part, err := c.OpenPartAhead(ctx, p)
	if err != nil {
		return err
	}
	defer part.Close()
	sum := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(sum, w), struct{ io.Reader }{part}, make([]byte, 1<<20))
	var wrong *xbstream.Error
	if errors.Is(err, syscall.EPIPE) || errors.As(err, &wrong) {
		// mbstream did not like what it got, or we did not. If the part is damaged, that is why.
		if _, derr := io.Copy(io.Discard, part); fault.Is(derr, fault.Integrity) {
			return derr
		}
	}
	if err != nil {
		return err
	}
	if n != p.PlainBytes || catalog.Digest(sum.Sum(nil)) != p.PlainSHA256 {
		return fault.New(fault.Integrity, "read", p.Stored.Key, errors.New("its plain bytes are not those that its manifest describes")).
			WithHint("Run `tidemark verify --data` to see everything that is damaged.")
	}
	return nil
}

// checkExtracted compares the position that the backup itself names with the manifest's.
func (r *run) checkExtracted() error {
	for _, name := range []string{"xtrabackup_binlog_info", "mariadb_backup_binlog_info"} {
		text, err := os.ReadFile(filepath.Join(r.work.target, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		f := strings.Fields(string(text))
		if want := r.plan.base.Source; len(f) < 2 || f[0] != want.File || f[1] != fmt.Sprint(want.Offset) {
			return fault.New(fault.Integrity, "use base backup", r.plan.base.ID,
				fmt.Errorf("its files say that it was taken at %q, its manifest at %s", strings.TrimSpace(string(text)), want))
		}
	}
	return nil
}

// prepare has the tool that made the backup bring the extracted files to the point of the backup.
func (r *run) prepare(ctx context.Context) error {
	args := []string{"--no-defaults"}
	if r.DefaultsExtraFile != "" {
		args = []string{"--defaults-file=" + r.DefaultsExtraFile}
	}
	// The backup's own backup-my.cnf would say as much, and whatever else somebody has written into it.
	layout, err := mysqld.LayoutArgs(r.plan.base.Variables)
	if err != nil {
		return fault.New(fault.Other, "prepare base backup", r.plan.base.ID, err).
			WithHint("Its data files cannot be laid out in one directory: `tidemark list` shows other base backups.")
	}
	args = append(args, layout...)
	args = append(args, "--prepare", "--target-dir="+r.work.target, "--tmpdir="+r.work.tmpDir(),
		fmt.Sprintf("--use-memory=%d", mysqld.Pool(r.Memory)))
	if r.PluginDir != "" && r.plan.base.Engine == engineXtraBackup {
		args = append(args, "--xtrabackup-plugin-dir="+r.PluginDir)
	} else if r.PluginDir != "" {
		args = append(args, "--plugin-dir="+r.PluginDir)
	}
	path := r.work.logFile("prepare")
	log, err := r.FS.Create(path)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := r.command(ctx, r.Tools.Backup, args...)
	said := io.MultiWriter(log, newPrepareProgress(r.work.target, r.tracker.percent))
	cmd.Stdout, cmd.Stderr = said, said
	rules := r.reach(r.Tools.Backup)
	if err = confine.Start(cmd, rules); err == nil {
		err = cmd.Wait()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	end := mysqld.LogTail(path, 20)
	if err == nil && !strings.Contains(lastLines(end, 1), "completed OK!") {
		err = errNotCompleted
	}
	if err != nil && !ofTheMachine(err, mysqld.LogTail(path, 500)) {
		// The tool had copied the server wrongly, as it does with tables of Aria that are written to, and no other
		// machine and no other attempt would do better: the bytes are those that it once gave.
		return fault.New(fault.Integrity, "prepare base backup", r.plan.base.ID, fmt.Errorf("%s: %w: what the tool once copied does not fit together; its log ends:\n%s", r.Tools.Backup, err, end)).
			WithHint("No other base backup serves this target: `tidemark list` shows what does. Take a new one with `tidemark backup` while the primary lives. The whole log is in " + path + ".")
	}
	if err != nil {
		return fault.New(fault.Other, "prepare base backup", r.plan.base.ID, fmt.Errorf("%s: %w; its log ends:\n%s", r.Tools.Backup, err, end)).
			WithHint(strings.TrimSpace("The whole log is in " + path + ". " + rules.Explain(end)))
	}
	return nil
}

// ofTheMachine says whether a tool failed, and so ended its log, for a reason that has to do with this machine, or with
// how the restore was called, and not with the files it was given: another base backup would fare no better.
func ofTheMachine(err error, log string) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return !errors.Is(err, errNotCompleted)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		switch status.Signal() {
		case syscall.SIGABRT, syscall.SIGSEGV, syscall.SIGBUS: // its own doing
		default:
			return true
		}
	}
	log = strings.ToLower(log)
	if strings.Contains(log, "aria log apply failed") { // whatever else was said before
		return false
	}
	has := func(text string, reasons ...string) bool {
		return slices.ContainsFunc(reasons, func(reason string) bool { return strings.Contains(text, reason) })
	}
	if has(log, "no space left", "errcode: 28", "permission denied", "errcode: 13", "too many open files", "cannot allocate", "bad_alloc", "out of memory",
		"input/output error", "read-only file system", "quota exceeded") {
		return true
	}
	for line := range strings.Lines(log) {
		if has(line, "error", "fail", "fatal", "not available", "unknown") && has(line, "encrypt", "decrypt", "plugin", "key_management", "keyring", "unknown option", "unknown variable") {
			return true
		}
	}
	return false
}

// errNotCompleted: the tool ended well, but its log does not.
var errNotCompleted = errors.New("it did not say that it completed")

// command prepares a program to run in the target.
func (r *run) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := r.user.Command(ctx, r.work.target, program, args...)
	if f := r.work.inherit(); f != nil {
		cmd.ExtraFiles = []*os.File{f}
	}
	cmd.Env = append(os.Environ(), "TMPDIR="+r.work.tmpDir())
	return cmd
}

// checkDisk compares what the restore will take with what is free. What is not there yet of the data
// directory takes so many bytes.
func (r *run) checkDisk(data int64) error {
	relay := min(r.RelaySpace, 2*r.plan.LogBytes)
	target := nearest(r.work.target)
	needs := map[string]int64{target: data}
	work := nearest(r.work.dir)
	same, err := sameDevice(target, work)
	if err != nil {
		return err
	}
	if same {
		needs[target] += relay
	} else {
		needs[work] = relay
	}
	for dir, need := range needs {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			return fmt.Errorf("ask for the free space of %s: %w", dir, err)
		}
		if free := int64(st.Bavail * uint64(st.Bsize)); free < need {
			return fault.New(fault.Other, "restore into", dir, fmt.Errorf("%d MiB are free, and at least %d MiB are needed", free>>20, need>>20)).
				WithHint("Free some space, choose another directory, or give less with --relay-space.")
		}
	}
	return nil
}

// nearest is the path, or the directory above it that there is already.
func nearest(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

func sameDevice(a, b string) (bool, error) {
	var sa, sb syscall.Stat_t
	if err := errors.Join(syscall.Stat(a, &sa), syscall.Stat(b, &sb)); err != nil {
		return false, err
	}
	return sa.Dev == sb.Dev, nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// limited passes on the first bytes and drops the rest.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(b []byte) (int, error) {
	n := min(len(b), l.left)
	l.left -= n
	_, err := l.w.Write(b[:n])
	return len(b), err
}
