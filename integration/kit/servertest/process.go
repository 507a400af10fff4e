package servertest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	startTimeout = 2 * time.Minute // crash recovery included
	stopTimeout  = time.Minute
	maxSocket    = 103 // longer paths do not fit everywhere into a socket address
)

// Options say how a server is started. The zero value is a server with ID 1 on fresh data in
// a directory that goes with it.
type Options struct {
	ServerID uint32   // 1 if 0
	Extra    []string // server options, after ours, so that they win: "--max-binlog-size=1M"
	Layout   []string // options on which the files of the data depend: "--innodb-page-size=8k"; Extra need not repeat them
	Env      []string // added to the server's environment: "TZ=Europe/Berlin"
	Dir      string   // for everything of the server; must exist; kept. A temporary one if ""
	Datadir  string   // existing data to run on, for instance restored; kept. Fresh data if ""
	Port     int      // a free one if 0
	Binaries Binaries // those of Find("") if empty
}

// Process is a server that was started here. Its methods are for one goroutine, but for those
// that only connect (Conn, Exec, Query, Value).
type Process struct {
	ServerID uint32
	Binaries Binaries
	Addr     string // "127.0.0.1:port"
	Port     int
	Socket   string
	Dir      string // holds the socket, the log, temporary files and, unless given, the data
	Datadir  string // binlogs lie here, as binlog.000001 and on
	LogFile  string // what the server wrote, over all its starts

	layout  []string
	extra   []string
	env     []string
	garbage []string // directories to remove in the end
	cmd     *exec.Cmd
	exited  chan struct{} // closed when cmd has ended
}

// Launch starts a server and returns when it answers. The caller must Close it.
func Launch(o Options) (*Process, error) {
	if o.Binaries.Mysqld == "" {
		var err error
		if o.Binaries, err = Find(""); err != nil {
			return nil, err
		}
	}
	p := &Process{ServerID: max(o.ServerID, 1), Binaries: o.Binaries, Dir: o.Dir, Datadir: o.Datadir, Port: o.Port, layout: o.Layout, extra: o.Extra, env: o.Env}
	err := p.prepare()
	if err == nil {
		err = p.start(o.Port == 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s %s: %w", p.Binaries.Flavor, p.Binaries.Version, err), p.Close())
	}
	return p, nil
}

// Pid returns the process ID of the server, or 0 when it does not run.
func (p *Process) Pid() int {
	if !p.running() {
		return 0
	}
	return p.cmd.Process.Pid
}

// Stop shuts the server down cleanly. Stopping a server that does not run does nothing.
func (p *Process) Stop() error {
	if !p.running() {
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.exited:
		if !p.cmd.ProcessState.Success() {
			return fmt.Errorf("stop server: %s; its log ends:\n%s", p.cmd.ProcessState, p.LogTail(50))
		}
		return nil
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("stop server: still running after %s; killed", stopTimeout), p.Kill())
	}
}

// Kill ends the server at once, as a crash does.
func (p *Process) Kill() error {
	if !p.running() {
		return nil
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.exited
	return nil
}

// Restart stops the server if it runs, and starts it on the same data, port and socket with
// the options added, for good, to its own.
func (p *Process) Restart(extra ...string) error {
	if err := p.Stop(); err != nil {
		return err
	}
	p.extra = append(p.extra[:len(p.extra):len(p.extra)], extra...)
	return p.start(false)
}

// Close kills the server and removes its temporary directories.
func (p *Process) Close() error {
	errs := []error{p.Kill()}
	for _, dir := range p.garbage {
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}

// LogTail returns the last lines of the server's log.
func (p *Process) LogTail(lines int) string {
	log, err := os.ReadFile(p.LogFile)
	if err != nil {
		return err.Error()
	}
	all := strings.SplitAfter(strings.TrimRight(string(log), "\n"), "\n")
	all = slices.DeleteFunc(all, func(line string) bool { return strings.Contains(line, "Unsafe statement written to the binary log") })
	return strings.Join(all[max(0, len(all)-lines):], "")
}

func (p *Process) running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// prepare makes the directories and the data.
func (p *Process) prepare() (err error) {
	if p.Dir == "" {
		if p.Dir, err = p.tempDir(""); err != nil {
			return err
		}
	}
	if p.Dir, err = filepath.Abs(p.Dir); err != nil {
		return err
	}
	if p.Socket = filepath.Join(p.Dir, "sock"); len(p.Socket) > maxSocket {
		short, err := p.tempDir("/tmp")
		if err != nil {
			return err
		}
		p.Socket = filepath.Join(short, "sock")
	}
	p.LogFile = filepath.Join(p.Dir, "server.log")
	if err := os.MkdirAll(filepath.Join(p.Dir, "tmp"), 0o700); err != nil {
		return err
	}
	if p.Datadir != "" {
		p.Datadir, err = filepath.Abs(p.Datadir)
		return err
	}
	p.Datadir = filepath.Join(p.Dir, "data")
	return newDatadir(p.Binaries, p.layout, p.Datadir)
}

func (p *Process) tempDir(parent string) (string, error) {
	dir, err := os.MkdirTemp(parent, "tidemark-")
	if err == nil {
		p.garbage = append(p.garbage, dir)
	}
	return dir, err
}

// start runs the server until it answers. A port found free may be taken by another process
// before the server has it; then, if anyPort, the next one is tried.
func (p *Process) start(anyPort bool) error {
	var err error
	for range 5 {
		if anyPort {
			if p.Port, err = freePort(); err != nil {
				return err
			}
		}
		p.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port))
		var log []byte
		if log, err = p.try(); err == nil || !bytes.Contains(log, []byte("Address already in use")) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// try runs the server once; on an error it has ended, and its log of this start is returned.
func (p *Process) try() (log []byte, err error) {
	file, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(p.Binaries.Mysqld, p.args()...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.Dir, file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // no target of the terminal's Ctrl-C
	if err := startBound(cmd); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	p.cmd, p.exited = cmd, exited
	go func() {
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
		close(exited)
	}()
	if err = p.awaitReady(); err == nil {
		return nil, nil
	}
	err = errors.Join(err, p.Kill())
	log = make([]byte, 64<<10)
	n, _ := file.ReadAt(log, info.Size())
	return log[:n], fmt.Errorf("%w; its log:\n%s", err, log[:n])
}

// awaitReady returns when the server answers a query, or with an error when it has ended.
func (p *Process) awaitReady() error {
	deadline := time.Now().Add(startTimeout)
	for {
		v, err := p.Value("SELECT @@server_id")
		switch {
		case err == nil && v == fmt.Sprint(p.ServerID):
			return nil
		case err == nil:
			return fmt.Errorf("server at %s has server_id %s, not %d", p.Socket, v, p.ServerID)
		case time.Now().After(deadline):
			return fmt.Errorf("no answer within %s: %w", startTimeout, err)
		}
		select {
		case <-p.exited:
			return fmt.Errorf("server ended: %s", p.cmd.ProcessState)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// args are the server's options. Losing the machine is not what these servers are tested for, so the binlog is not synced.
// InnoDB's log is: in /dev/shm MariaDB maps it into its memory, and where it does not sync it, a killed server can lose a
// transaction behind another's that was still being copied there, though its binlog holds both.
func (p *Process) args() []string {
	args := append(append([]string{"--no-defaults"}, storageArgs(p.Binaries)...), p.layout...)
	args = append(args,
		"--datadir="+p.Datadir, "--socket="+p.Socket, "--tmpdir="+filepath.Join(p.Dir, "tmp"),
		"--pid-file="+filepath.Join(p.Dir, "pid"), "--bind-address=127.0.0.1", fmt.Sprintf("--port=%d", p.Port),
		fmt.Sprintf("--server-id=%d", p.ServerID), "--log-bin=binlog",
		"--sync-binlog=0", "--innodb-flush-log-at-trx-commit=1",
		"--skip-name-resolve", "--event-scheduler=OFF", "--max-allowed-packet=1G")
	if p.Binaries.Flavor == MySQL {
		// The second row saves a third of the time and memory that a start takes.
		args = append(args, "--gtid-mode=ON", "--enforce-gtid-consistency=ON",
			"--innodb-use-native-aio=OFF", "--table-open-cache=200", "--table-definition-cache=400", "--innodb-log-buffer-size=1M",
			"--log-error-suppression-list=MY-010908") // a line for every statement that is unsafe by statement
	} else {
		args = append(args, "--binlog-format=ROW")
	}
	return append(args, p.extra...)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
