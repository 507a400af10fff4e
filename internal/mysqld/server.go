package mysqld

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"tidemark/internal/confine"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// logLines is how much of a server's log an error shows.
const logLines = 20

// Options say on what a server runs, and how.
type Options struct {
	Tools    Tools
	Flavor   gtid.Flavor       // of Tools.Mysqld
	User     User              // who runs it; must own Datadir and RunDir
	Datadir  string            // absolute
	RunDir   string            // for what the server keeps while it runs; absolute, must exist
	LogFile  string            // the server's log, added to; must not be in RunDir if it is to be kept
	ServerID uint32            // must not be 0
	Memory   int64             // bytes for the buffer pool; 0: a part of what the machine has
	Settings map[string]string // variables recorded with the data, of which package variables says what is done with each
	Args     []string          // options after all of ours, so that they win
	Account  string            // of the sessions; made up if "", and the same for each start on data that a server may have been killed on
	Grace    time.Duration     // between the end of Start's context and the server's, for sessions to end their work
	Inherit  *os.File          // left open in the server, so that a lock on it lasts as long; may be nil

	DefaultsFile string // an option file, which goes over Settings; none if ""
	PluginDir    string

	Reach confine.Rules // what it may touch beside its own files: its directories, its program, the plugins and the option file
}

// ErrKilled: a server did not end by itself, but was killed.
var ErrKilled = errors.New("it was killed")

// Server is a running private server.
type Server struct {
	o        Options
	dir      string // holds the socket, nothing else
	user     string
	password string
	cmd      *exec.Cmd
	exited   chan struct{} // closed when cmd has ended
	release  func() bool   // stops watching the context

	once sync.Once
}

// Start runs a server and returns when it answers: recovery of the data included, which may take
// long. When ctx ends the server is killed, after the grace.
func Start(ctx context.Context, o Options) (*Server, error) {
	s := &Server{o: o, exited: make(chan struct{})}
	if err := s.start(ctx); err != nil {
		s.abandon()
		return nil, fmt.Errorf("start a private server on %s: %w", o.Datadir, err)
	}
	return s, nil
}

func (s *Server) start(ctx context.Context) (err error) {
	// Short, because a socket's path has at most 107 bytes.
	parent := ""
	if len(os.TempDir()) > 60 {
		parent = "/tmp"
	}
	if s.dir, err = os.MkdirTemp(parent, "tidemark-"); err != nil {
		return err
	}
	if err := s.o.User.Own(s.dir); err != nil {
		return err
	}
	initFile, err := s.writeAccount()
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(initFile) }() // it is gone with the directory at the latest
	options, err := s.writeOptions()
	if err != nil {
		return err
	}
	layout, err := LayoutArgs(s.o.Settings)
	if err != nil {
		return err
	}
	zone, err := s.timeZone()
	if err != nil {
		return err
	}
	log, err := openLog(s.o.LogFile)
	if err != nil {
		return err
	}
	defer log.Close()

	// Not CommandContext: its kill would be unknown to Close.
	s.cmd = s.o.User.Command(context.WithoutCancel(ctx), s.o.Datadir, s.o.Tools.Mysqld, s.args(options, initFile, layout)...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if s.o.Inherit != nil {
		s.cmd.ExtraFiles = []*os.File{s.o.Inherit}
	}
	s.cmd.Env = append(append(os.Environ(), "TMPDIR="+s.tmpDir()), zone...)
	if err := confine.Start(s.cmd, s.rules()); err != nil {
		s.cmd = nil
		return err
	}
	go func() {
		_ = s.cmd.Wait() // how it ended is in cmd.ProcessState
		close(s.exited)
	}()
	s.release = context.AfterFunc(ctx, func() {
		select {
		case <-s.exited:
		case <-time.After(s.o.Grace):
			_ = s.cmd.Process.Kill()
		}
	})
	return s.await(ctx)
}

// await returns when the server answers.
func (s *Server) await(ctx context.Context) error {
	for {
		conn, err := s.Connect(ctx)
		if err == nil {
			return conn.Close()
		}
		if denied(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.exited:
			return s.Ended()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// rules are what the server may touch.
func (s *Server) rules() confine.Rules {
	r := s.o.Reach
	r.Read = slices.Concat(r.Read, ProgramFiles(s.o.Tools.Mysqld), OptionFiles(s.o.DefaultsFile))
	if s.o.PluginDir != "" {
		r.Read = append(r.Read, s.o.PluginDir)
	}
	r.Write = append([]string{s.o.Datadir, s.o.RunDir, s.dir}, r.Write...)
	return r
}

// Explain returns a hint that what the server said may come of what it is confined to; "" if it does not look so.
func (s *Server) Explain(said string) string { return s.rules().Explain(said) }

// tmpDir is where the server has its temporary files.
func (s *Server) tmpDir() string { return filepath.Join(s.o.RunDir, "tmp") }

// Connect opens a session that may do everything.
func (s *Server) Connect(ctx context.Context) (*Conn, error) {
	return dial(ctx, s.Socket(), s.user, s.password)
}

// Socket is the path of the server's socket.
func (s *Server) Socket() string { return filepath.Join(s.dir, "sock") }

// Log is the path of the server's log.
func (s *Server) Log() string { return s.o.LogFile }

// Exited is closed when the server has ended.
func (s *Server) Exited() <-chan struct{} { return s.exited }

// Ended says how the server ended, with the end of its log; nil while it runs.
func (s *Server) Ended() error {
	select {
	case <-s.exited:
	default:
		return nil
	}
	how := errors.New(s.cmd.ProcessState.String())
	if status, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		how = ErrKilled
	}
	tail := LogTail(s.o.LogFile, logLines)
	return fault.New(fault.Other, "server", "", fmt.Errorf("it ended: %w; its log ends:\n%s", how, tail)).
		WithHint(strings.TrimSpace("The whole log is in " + s.o.LogFile + ". " + s.Explain(tail)))
}

// Stop removes the private account and shuts the server down cleanly. It waits as long as that
// takes; when ctx ends the server is killed, which is an error.
func (s *Server) Stop(ctx context.Context) error {
	err := s.Ended()
	if err == nil {
		err = s.dropAccount(ctx)
	}
	if err == nil {
		err = s.shutDown(ctx)
	}
	s.Close()
	if err != nil {
		return fmt.Errorf("stop the private server: %w", err)
	}
	return nil
}

func (s *Server) shutDown(ctx context.Context) error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.exited:
		if !s.cmd.ProcessState.Success() {
			return s.Ended()
		}
		return nil
	}
}

// Close kills the server if it still runs, and removes its socket. It may be called again.
func (s *Server) Close() {
	s.once.Do(func() {
		if s.release != nil {
			s.release()
		}
		if s.cmd != nil {
			_ = s.cmd.Process.Kill() // it may have ended
			<-s.exited
		}
		if s.dir != "" {
			_ = os.RemoveAll(s.dir)
		}
	})
}

// openLog opens a log file for adding to it.
func openLog(path string) (durable.File, error) {
	fsys := durable.OS{}
	f, err := fsys.Append(path)
	if errors.Is(err, os.ErrNotExist) {
		f, err = fsys.Create(path)
	}
	return f, err
}
