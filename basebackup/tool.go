package basebackup

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"tidemark/internal/durable"
	"tidemark/internal/fault"
)

const (
	copyBuffer = 1 << 20
	logPrefix  = "mariadb-backup-"
	keptLogs   = 10
	shownLines = 12 // of the log, in an error
)

// run runs the tool with its output going to w, and returns when it has ended, whether by itself or
// killed because ctx ended, w failed or commits were blocked for too long.
func (m *MariaDB) run(ctx context.Context, j *job, w io.Writer) error {
	if err := durable.MkdirAll(m.FS, m.StateDir); err != nil {
		return fault.New(fault.Config, "make the directory", m.StateDir, err).
			WithHint("Give the user that runs tidemark a state_dir it may write to.")
	}
	logFile, err := m.newLog()
	if err != nil {
		return fault.New(fault.Config, "make a log in", m.StateDir, err).
			WithHint("Give the user that runs tidemark a state_dir it may write to.")
	}
	defer logFile.Close()
	secret, err := m.writeOptions()
	if err != nil {
		return fault.New(fault.Config, "write the tool's options in", m.StateDir, err)
	}
	forget := sync.OnceFunc(func() { _ = m.FS.Remove(secret) })
	defer forget()

	cmd := exec.Command(j.tool, m.args(j, secret)...)
	cmd.Dir, cmd.Env = m.StateDir, environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return m.failed(j, err)
	}
	var once sync.Once
	var reason error // why it was killed
	kill := func(why error) {
		once.Do(func() {
			reason = why
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		})
	}
	release := context.AfterFunc(ctx, func() { kill(ctx.Err()) })
	defer release()

	log := &toolLog{file: logFile, watch: m.watch(kill)}
	var reading sync.WaitGroup
	reading.Go(func() { log.read(stderr) })
	// Once it writes, it has read its options.
	_, err = io.CopyBuffer(struct{ io.Writer }{w}, &first{r: stdout, then: forget}, make([]byte, copyBuffer))
	if err != nil {
		kill(err)
	}
	reading.Wait()
	ended := cmd.Wait()
	once.Do(func() {}) // from here on nothing is killed, and reason is settled
	log.watch.stop()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case reason != nil:
		return fault.New(fault.Other, "copy the server with", j.tool, reason).
			WithHint("What the tool said is in " + logFile.Name() + ".")
	case ended != nil || !log.completed():
		if ended == nil {
			ended = errors.New("it ended without saying that the copy is complete")
		}
		return fault.New(fault.Other, "copy the server with", j.tool, fmt.Errorf("%w; %s ends:\n%s", ended, logFile.Name(), log.tail())).
			WithHint("What the tool said is in " + logFile.Name() + ".")
	}
	return nil
}

func (m *MariaDB) args(j *job, options string) []string {
	return []string{
		"--defaults-file=" + options, // must come first; no other option file is read
		"--backup",
		"--stream=mbstream",
		"--target-dir=" + filepath.Join(m.StateDir, "unused"), // a stream needs none, and makes none
		"--datadir=" + j.datadir,
		fmt.Sprintf("--parallel=%d", max(1, m.Threads)),
		// In milliseconds. Commits are blocked in the end until the redo log was looked at once more,
		// which is a second by default.
		"--log-copy-interval=50",
	}
}

// environment is ours without secrets.
func environment() []string {
	var env []string
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH", "TMPDIR", "TZ"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return append(env, "LC_ALL=C")
}

// writeOptions writes an option file that only we can read, and returns its path. Arguments and the
// environment of a process can be read by others.
func (m *MariaDB) writeOptions() (string, error) {
	p := m.Primary
	var b strings.Builder
	b.WriteString("[mariadb-backup]\n")
	set := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s=%s\n", name, quote(value))
		}
	}
	set("user", p.User)
	set("password", p.Password)
	if p.Socket != "" {
		set("protocol", "socket")
		set("socket", p.Socket)
	} else {
		set("protocol", "tcp")
		set("host", p.Host)
		set("port", fmt.Sprint(p.Port))
	}
	switch {
	case !p.TLS.On:
		// What names a part of TLS would turn it on. Tools of 11.4 and later use it all the same where
		// the server offers it.
		b.WriteString("skip-ssl\n")
	case p.TLS.Verify:
		b.WriteString("ssl\nssl-verify-server-cert\n")
	default:
		b.WriteString("ssl\nskip-ssl-verify-server-cert\n")
	}
	if p.TLS.On {
		set("ssl-ca", p.TLS.CA)
		set("ssl-cert", p.TLS.Cert)
		set("ssl-key", p.TLS.Key)
	}
	path := filepath.Join(m.StateDir, logPrefix+unique()+".cnf")
	return path, durable.WriteFileAtomic(m.FS, path, []byte(b.String()))
}

// quote makes a value for an option file.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\b", `\b`).Replace(s) + `"`
}

func unique() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// newLog makes the file that keeps what the tool says, and removes the oldest such files.
func (m *MariaDB) newLog() (durable.File, error) {
	old, err := m.FS.ReadDir(m.StateDir, func(e fs.DirEntry) bool {
		return strings.HasPrefix(e.Name(), logPrefix) && strings.HasSuffix(e.Name(), ".log")
	})
	if err != nil {
		return nil, err
	}
	for _, e := range old[:max(0, len(old)-keptLogs+1)] {
		_ = m.FS.Remove(filepath.Join(m.StateDir, e.Name()))
	}
	name := logPrefix + m.Clock.Now().UTC().Format("20060102T150405Z-") + unique() + ".log"
	return m.FS.Create(filepath.Join(m.StateDir, name))
}

// first is a reader that calls then when the first bytes have come.
type first struct {
	r    io.Reader
	then func()
}

func (f *first) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if n > 0 && f.then != nil {
		f.then()
		f.then = nil
	}
	return n, err
}

// toolLog copies what the tool says to a file and remembers the end.
type toolLog struct {
	file  io.Writer
	watch *watch
	last  []string
}

func (l *toolLog) read(r io.Reader) {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		if line != "" {
			// A log that cannot be written is no reason to fail: the end of it is here.
			_, _ = io.WriteString(l.file, line)
			line = strings.TrimSpace(line)
		}
		if line != "" {
			if l.last = append(l.last, line); len(l.last) > shownLines {
				l.last = l.last[1:]
			}
			l.watch.line(line)
		}
		if err != nil {
			return
		}
	}
}

func (l *toolLog) tail() string { return strings.Join(l.last, "\n") }

// completed reports whether the tool's last word is that all went well.
func (l *toolLog) completed() bool {
	return len(l.last) > 0 && strings.HasSuffix(l.last[len(l.last)-1], "completed OK!")
}
