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
	"slices"
	"strings"
	"sync"
	"syscall"

	"tidemark/internal/clock"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
)

const (
	copyBuffer = 1 << 20
	keptLogs   = 10
	shownLines = 12 // of the log, in an error
)

// program is a tool that runs beside the server and writes a copy of it to its output.
type program struct {
	name     string   // of its option group, and what its logs are named after
	path     string   // absolute
	args     []string // after the one that names the option file
	options  string   // of its option group, secrets among them
	stateDir string   // for its logs; made when it is missing
	clock    clock.Clock
	fs       durable.FS
	watch    *watch
	line     func(string) // called with each line of what it says; may be nil
}

// run runs the tool with its output going to w, and returns when it has ended, whether by itself or
// killed because ctx ended, w failed or commits were blocked for too long. Only with a nil error it has
// said that the copy is complete.
func (p *program) run(ctx context.Context, w io.Writer) error {
	if err := durable.MkdirAll(p.fs, p.stateDir); err != nil {
		return fault.New(fault.Config, "make the directory", p.stateDir, err).
			WithHint("Give the user that runs tidemark a state_dir it may write to.")
	}
	logFile, err := p.newLog()
	if err != nil {
		return fault.New(fault.Config, "make a log in", p.stateDir, err).
			WithHint("Give the user that runs tidemark a state_dir it may write to.")
	}
	defer logFile.Close()
	secret, err := p.writeOptions()
	if err != nil {
		return fault.New(fault.Config, "write the tool's options in", p.stateDir, err)
	}
	forget := sync.OnceFunc(func() { _ = p.fs.Remove(secret) })
	defer forget()

	// The option file must come first; no other one is read.
	cmd := exec.Command(p.path, slices.Concat([]string{"--defaults-file=" + secret}, p.args)...)
	cmd.Dir, cmd.Env = p.stateDir, environment()
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
		return p.failed(err)
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

	p.watch.kill = kill
	log := &toolLog{file: logFile, line: p.said}
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
	p.watch.stop()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case reason != nil:
		return p.failed(reason).WithHint("What the tool said is in " + logFile.Name() + ".")
	case ended != nil || !log.completed():
		if ended == nil {
			ended = errors.New("it ended without saying that the copy is complete")
		}
		return p.failed(fmt.Errorf("%w; %s ends:\n%s", ended, logFile.Name(), log.tail())).
			WithHint("What the tool said is in " + logFile.Name() + ".")
	}
	return nil
}

func (p *program) failed(err error) *fault.Error {
	return fault.New(fault.Other, "copy the server with", p.path, err)
}

// said looks at a line of what the tool says.
func (p *program) said(line string) {
	p.watch.line(line)
	if p.line != nil {
		p.line(line)
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
func (p *program) writeOptions() (string, error) {
	path := filepath.Join(p.stateDir, p.name+"-"+unique()+".cnf")
	return path, durable.WriteFileAtomic(p.fs, path, []byte("["+p.name+"]\n"+p.options))
}

// login is the part of an option file that says who connects, and where to.
func (p Primary) login() string {
	options := option("user", p.User) + option("password", p.Password)
	if p.Socket != "" {
		return options + option("socket", p.Socket)
	}
	return options + option("host", p.Host) + option("port", fmt.Sprint(p.Port))
}

// files is the part of an option file that names those of TLS.
func (t TLS) files() string {
	return option("ssl-ca", t.CA) + option("ssl-cert", t.Cert) + option("ssl-key", t.Key)
}

// option is a line of an option file; none without a value.
func option(name, value string) string {
	if value == "" {
		return ""
	}
	return name + "=" + quote(value) + "\n"
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
func (p *program) newLog() (durable.File, error) {
	old, err := p.fs.ReadDir(p.stateDir, func(e fs.DirEntry) bool {
		return strings.HasPrefix(e.Name(), p.name+"-") && strings.HasSuffix(e.Name(), ".log")
	})
	if err != nil {
		return nil, err
	}
	for _, e := range old[:max(0, len(old)-keptLogs+1)] {
		_ = p.fs.Remove(filepath.Join(p.stateDir, e.Name()))
	}
	name := p.name + "-" + p.clock.Now().UTC().Format("20060102T150405Z-") + unique() + ".log"
	return p.fs.Create(filepath.Join(p.stateDir, name))
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
	file io.Writer
	line func(string)
	last []string
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
			l.line(line)
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
