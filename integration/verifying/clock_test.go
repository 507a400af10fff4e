package verifying

import (
	"context"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/internal/cli"
	"tidemark/internal/config"
	"tidemark/storage"
	"tidemark/storage/file"
)

// envJumps makes this test's program be tidemark itself, with a clock that a signal puts forward: so that a
// schedule, whose least step is a minute, need not be waited for.
const envJumps = "TIDEMARK_TEST_CLOCK_JUMPS"

func TestMain(m *testing.M) {
	if os.Getenv(envJumps) == "" {
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

// whoseClockJumps is the program with such a clock.
func whoseClockJumps(t *testing.T, k kit.Tool) kit.Tool {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	k.Path = path
	return k.With(envJumps + "=1")
}

// jumpClock puts the clock of such a program forward to the next minute.
func jumpClock(t *testing.T, d *kit.Daemon) {
	t.Helper()
	if err := syscall.Kill(d.Pid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
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
