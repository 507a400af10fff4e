package kit

import (
	"context"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"tidemark/internal/cli"
	"tidemark/internal/config"
	"tidemark/storage"
	"tidemark/storage/file"
)

// A schedule's least step is a minute. A test does not wait for it: it starts the program with StartAhead, and puts
// its clock forward with JumpClock. The program is then the test binary itself, which only its TestMain can make of it:
//
//	func TestMain(m *testing.M) { kit.Main(m) }

// envAhead makes a test binary be the program, with a clock that a signal puts forward.
const envAhead = "TIDEMARK_TEST_CLOCK_JUMPS"

// canBeTool is set where a process of this test binary can be the program.
var canBeTool bool

// Main runs the tests of a package, or is the program that StartAhead starts.
func Main(m *testing.M) {
	if os.Getenv(envAhead) == "" {
		canBeTool = true
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c := newClock()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	go func() {
		for range signals {
			c.jump()
		}
	}()
	os.Exit(cli.Main(ctx, cli.Program{Version: "test", Drivers: []cli.Driver{{Scheme: "file", Open: openFile}}, Args: os.Args[1:],
		Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr, Clock: c}))
}

func openFile(_ context.Context, u *url.URL, _ config.Storage) (storage.Store, error) {
	return file.Open(u.Path)
}

// StartAhead is Start of a program whose clock is ahead, by less than a minute at first: it begins at a full minute. It
// knows archives in directories only.
func (w *World) StartAhead() {
	w.T.Helper()
	if !canBeTool {
		w.T.Fatal("the TestMain of this package does not call kit.Main")
	}
	path, err := os.Executable()
	if err != nil {
		w.T.Fatal(err)
	}
	usual := w.Tool
	w.Tool = w.Tool.With(envAhead + "=1")
	w.Tool.Path = path
	w.Start()
	w.Tool = usual
}

// JumpClock puts the clock of a program that StartAhead has started forward to the next minute. What is due then
// happens at once.
func (w *World) JumpClock() {
	w.T.Helper()
	if err := syscall.Kill(w.Daemon.Pid(), syscall.SIGUSR1); err != nil {
		w.T.Fatal(err)
	}
}

// jumpingClock is ahead of the machine's, and begins at a full minute.
type jumpingClock struct {
	mu     sync.Mutex
	ahead  time.Duration
	jumped chan struct{} // closed when it jumps
}

func newClock() *jumpingClock {
	c := &jumpingClock{jumped: make(chan struct{})}
	c.jump()
	return c
}

func (c *jumpingClock) jump() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now().Add(c.ahead)
	c.ahead += now.Truncate(time.Minute).Add(time.Minute).Sub(now)
	close(c.jumped)
	c.jumped = make(chan struct{})
}

func (c *jumpingClock) look() (now time.Time, jumped <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead), c.jumped
}

func (c *jumpingClock) Now() time.Time {
	now, _ := c.look()
	return now
}

func (c *jumpingClock) After(d time.Duration) <-chan time.Time {
	done := make(chan time.Time, 1)
	now, jumped := c.look()
	due := now.Add(d)
	go func() {
		for due.After(now) {
			select {
			case <-time.After(due.Sub(now)):
			case <-jumped:
			}
			now, jumped = c.look()
		}
		done <- now
	}()
	return done
}
