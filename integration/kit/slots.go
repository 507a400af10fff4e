package kit

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Need is what a test needs of the machine while it runs.
type Need struct {
	Servers int  // that run at once, those of a restore included; 1 if 0
	Memory  int  // GiB, where it is more than such servers need
	Quiet   bool // nothing else may run: it measures time
}

// Servers is the need of a test that runs so many servers at once.
func Servers(n int) Need { return Need{Servers: n} }

// Quiet is the need of a test that measures time.
var Quiet = Need{Quiet: true}

// gibPerSlot is what the servers of a slot may use: MySQL's take half a GiB each.
const gibPerSlot = 1

// slots is how many a need takes of those that there are.
func (n Need) slots(all int) int {
	if n.Quiet {
		return all
	}
	return min(all, max(1, n.Servers, (n.Memory+gibPerSlot-1)/gibPerSlot))
}

// Parallel lets a test run beside others, of this package and of others, as soon as the machine has what
// it needs, which is taken back when the test ends. A test that needs a server skips with -short.
//
// A test whose parts need something for themselves takes nothing itself: a part could wait for ever for what
// its parent holds.
//
// The machine's slots are files that are locked, so that all test processes share one bound and one that
// dies leaves nothing behind. TIDEMARK_TEST_SLOTS says how many there are; without it that hangs on the
// machine's processors and memory.
func Parallel(t *testing.T, need Need) {
	t.Helper()
	if testing.Short() {
		t.Skip("it needs a server")
	}
	t.Parallel()
	all, err := slotCount()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := slotsDir()
	if err != nil {
		t.Fatal(err)
	}
	for parent := t.Name(); strings.Contains(parent, "/"); {
		parent = parent[:strings.LastIndex(parent, "/")]
		if _, ok := holders.Load(parent); ok {
			t.Fatalf("%s holds slots, and its part wants some", parent)
		}
	}
	began := time.Now()
	release, err := takeSlots(dir, need.slots(all), all)
	if err != nil {
		t.Fatalf("take slots of the machine: %v", err)
	}
	holders.Store(t.Name(), true)
	t.Cleanup(func() {
		holders.Delete(t.Name())
		release()
	})
	t.Logf("%s%.1f s", waited, time.Since(began).Seconds())
}

// holders are the names of the tests that hold slots.
var holders sync.Map

// waited begins the line by which a report tells a test's own time from that in which it waited for its turn.
const waited = "waited for its turn: "

func slotCount() (int, error) {
	if v := os.Getenv("TIDEMARK_TEST_SLOTS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return 0, fmt.Errorf("TIDEMARK_TEST_SLOTS=%q is not a number of slots", v)
		}
		return n, nil
	}
	byMemory := 4
	if info, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kib int
		if _, err := fmt.Sscanf(string(info), "MemTotal: %d kB", &kib); err == nil {
			byMemory = kib >> 20 * 2 / 3 / gibPerSlot
		}
	}
	return max(2, min(6*runtime.NumCPU(), byMemory)), nil
}

// slotsDir is the same for all runs of a user, whatever their directories for temporary files are.
func slotsDir() (string, error) {
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "tidemark", "slots"), err
}

// takeSlots waits for n of the slots of a directory. Whoever waits holds the queue, so that nobody
// overtakes one that needs many, and nobody who has some waits for more.
func takeSlots(dir string, n, all int) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	queue, err := lockFile(filepath.Join(dir, "queue"), syscall.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer queue.Close()
	var taken []*os.File
	release = func() {
		for _, f := range taken {
			f.Close() // and with it its lock
		}
	}
	for {
		for i := 0; i < all && len(taken) < n; i++ {
			path := filepath.Join(dir, "slot-"+strconv.Itoa(i))
			if holds(taken, path) {
				continue
			}
			f, err := lockFile(path, syscall.LOCK_EX|syscall.LOCK_NB)
			if err == syscall.EWOULDBLOCK {
				continue
			}
			if err != nil {
				release()
				return nil, err
			}
			taken = append(taken, f)
		}
		if len(taken) == n {
			return release, nil
		}
		time.Sleep(20 * time.Millisecond) // only the first of the queue does
	}
}

func holds(files []*os.File, path string) bool {
	for _, f := range files {
		if f.Name() == path {
			return true
		}
	}
	return false
}

// lockFile opens a file, which may be new, with a lock that ends with it. An error of the lock is a bare
// errno.
func lockFile(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if err == nil {
			return f, nil
		}
		if err != syscall.EINTR {
			f.Close()
			return nil, err
		}
	}
}

// SaysWait tells whether a line of a test's log says how long it waited for its turn.
func SaysWait(line string) bool { return strings.Contains(line, waited) }

// OwnTime is how long a test took by itself, of the time it took in all and what it logged.
func OwnTime(took time.Duration, line string) time.Duration {
	_, after, found := strings.Cut(line, waited)
	if !found {
		return took
	}
	var seconds float64
	if _, err := fmt.Sscanf(after, "%f s", &seconds); err != nil {
		return took
	}
	return took - time.Duration(seconds*float64(time.Second))
}
