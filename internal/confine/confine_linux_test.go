package confine

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// world is a directory that a program may change, one that it may read, and one that it must not touch.
type world struct{ write, read, far string }

func newWorld(t *testing.T) world {
	t.Helper()
	if err := Available(); err != nil {
		t.Skip(err)
	}
	w := world{t.TempDir(), t.TempDir(), t.TempDir()}
	for _, dir := range []string{w.write, w.read, w.far} {
		must(t, os.WriteFile(filepath.Join(dir, "file"), []byte("before"), 0o644))
		must(t, os.Mkdir(filepath.Join(dir, "below"), 0o755))
	}
	return w
}

func (w world) rules() Rules {
	return Rules{Read: []string{w.read, "/no/such/file"}, Write: []string{w.write}}
}

// shell runs a line of a shell in the world, and reports whether it went well.
func (w world) shell(t *testing.T, rules Rules, line string) bool {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.Env = append(os.Environ(), "W="+w.write, "R="+w.read, "F="+w.far)
	must(t, Start(cmd, rules))
	return cmd.Wait() == nil
}

func TestRules(t *testing.T) {
	w := newWorld(t)
	for line, want := range map[string]bool{
		"echo x > $W/new": true, "echo x >> $W/file": true, ": > $W/file": true, "rm $W/file": true, "mkdir $W/dir": true, "cat $W/file": true,
		"echo x > $W/a && mv $W/a $W/below/a": true, "mkfifo $W/fifo": true, "echo x > $W/b && ln $W/b $W/below/b": true,
		"cat $R/file": true, "ls $R": true, "echo x > $R/file": false, "rm $R/file": false, "touch $R/new": false, ": > $R/file": false,
		"cat $F/file": false, "ls $F": false, "echo x > $F/file": false, "rm $F/file": false, "touch $F/new": false, "mkdir $F/dir": false, ": > $F/file": false,
		"echo x > $W/c && mv $W/c $F/c": false, "mv $F/file $W/stolen": false, "ln $F/file $W/linked": false,
		"ln -s $F/file $W/link": false, // and none can be followed, once it is there:
		"cat $R/below/link":     false, "echo x > $R/below/link": false,
		"cd $W/below && echo x > ../../" + filepath.Base(w.far) + "/file": false,
		"cp /bin/true $W/true && $W/true":                                 false,
		"true > /dev/null && cat /etc/passwd /proc/self/status":           true,
		"echo x > /tmp/tidemark-confine-test":                             false,
	} {
		w := newWorld(t)
		must(t, os.Symlink(filepath.Join(w.far, "file"), filepath.Join(w.read, "below", "link")))
		if got := w.shell(t, w.rules(), line); got != want {
			t.Errorf("%s: %v, not %v", line, got, want)
		}
		if text, err := os.ReadFile(filepath.Join(w.far, "file")); err != nil || string(text) != "before" {
			t.Errorf("%s: the file outside holds %q, %v", line, text, err)
		}
	}
}

// TestNetwork: no program reaches another by TCP, unless it may.
func TestNetwork(t *testing.T) {
	w := newWorld(t)
	if abi, _ := version(); abi < networkABI {
		t.Skip("the kernel's Landlock knows no network")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, network := range []bool{false, true} {
		rules := w.rules()
		rules.Network = network
		if got := w.shell(t, rules, bash+" -c ': > /dev/tcp/127.0.0.1/"+port+"'"); got != network {
			t.Errorf("network %v: it connects: %v", network, got)
		}
	}
}

// TestOnlyTheChild: nothing of this process becomes confined, and no thread that is made meanwhile or after, and the threads that
// started children are gone with these.
func TestOnlyTheChild(t *testing.T) {
	w := newWorld(t)
	stop := make(chan struct{})
	var all sync.WaitGroup
	write := func() error { return os.WriteFile(filepath.Join(w.far, "file"), []byte("before"), 0o644) }
	for range 8 * runtime.GOMAXPROCS(0) { // as many threads as there can be: each is held for a while
		all.Add(1)
		go func() {
			defer all.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				runtime.LockOSThread()
				if err := write(); err != nil {
					t.Errorf("thread %d of ours cannot write: %v", unix.Gettid(), err)
					return
				}
				runtime.UnlockOSThread()
			}
		}()
	}
	var children sync.WaitGroup
	for range 50 {
		children.Add(1)
		go func() {
			defer children.Done()
			if w.shell(t, w.rules(), "echo x > $F/file") {
				t.Error("a child is not confined")
			}
		}()
	}
	children.Wait()
	close(stop)
	all.Wait()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		confined := confinedThreads(t)
		if len(confined) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("threads %v of ours cannot gain privileges", confined)
		}
	}
}

// confinedThreads returns those of this process that have given up privileges.
func confinedThreads(t *testing.T) (confined []string) {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	must(t, err)
	for _, task := range tasks {
		status, err := os.ReadFile("/proc/self/task/" + task.Name() + "/status")
		if err == nil && strings.Contains(string(status), "NoNewPrivs:\t1") {
			confined = append(confined, task.Name())
		}
	}
	return confined
}

// TestOtherUser: a child that is another user, as a server is that root starts, is confined as well.
func TestOtherUser(t *testing.T) {
	w := newWorld(t)
	if os.Getuid() != 0 {
		t.Skip("only root can start a program as another user")
	}
	const nobody = 65534
	for _, dir := range []string{w.write, w.far} {
		must(t, os.Chown(dir, nobody, nobody))
		must(t, os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755)) // of the tests' temporary directory
		must(t, os.Chmod(filepath.Dir(dir), 0o755))
	}
	for line, want := range map[string]bool{"test $(id -u) = 65534": true, "touch $W/new && mkdir $W/dir && mv $W/new $W/dir/new": true, "touch $F/new": false, "ls $F": false} {
		cmd := exec.Command("/bin/sh", "-c", line)
		cmd.Env = append(os.Environ(), "W="+w.write, "F="+w.far)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		must(t, Start(cmd, w.rules()))
		if err := cmd.Wait(); (err == nil) != want {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// TestLifetime: a child that is to die with its parent lives until it is ended, though the thread that started it has
// nothing else to do, and can be killed and waited for as any other.
func TestLifetime(t *testing.T) {
	w := newWorld(t)
	cmd := exec.Command("/bin/sh", "-c", "echo up; cat; echo down")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, Start(cmd, w.rules()))
	r := bufio.NewReader(out)
	if line, err := r.ReadString('\n'); err != nil || line != "up\n" {
		t.Fatalf("%q, %v", line, err)
	}
	runtime.GC()
	for range 100 { // threads come and go
		onOwnThread(func() {})
	}
	must(t, in.Close())
	if rest, err := io.ReadAll(r); err != nil || string(rest) != "down\n" {
		t.Errorf("%q, %v", rest, err)
	}
	must(t, cmd.Wait())

	cmd = exec.Command("/bin/sh", "-c", "cat")
	if in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	must(t, Start(cmd, w.rules()))
	must(t, cmd.Process.Kill())
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("killed: %v", err)
	}
	in.Close()
}

// TestCannotStart: what cannot be started, or not confined as asked, is an error, and no program runs.
func TestCannotStart(t *testing.T) {
	w := newWorld(t)
	if err := Start(exec.Command("/no/such/program"), w.rules()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no program: %v", err)
	}
	made := filepath.Join(w.write, "made")
	err := Start(exec.Command("/bin/sh", "-c", "touch "+made), Rules{Write: []string{w.write, filepath.Join(w.far, "absent")}})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such directory: %v", err)
	}
	if _, err := os.Stat(made); err == nil {
		t.Error("the program was run all the same")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
