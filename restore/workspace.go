package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/uuid"

	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/internal/mysqld"
)

// workspace is the target directory and what a restore keeps beside it, in "<target>.tidemark":
// state.json, which says whether the target is ours and how far it is; the logs of the tools; and while it
// runs, run/ for the server and stage/ for relay logs that are not handed to it yet.
type workspace struct {
	fsys   durable.FS
	target string
	dir    string
	state  state
	left   bool // the target holds what an interrupted restore has left
	lock   durable.File
	held   *durable.Lock // by us and by the programs that we run
}

const (
	workSuffix    = ".tidemark"
	processesLock = "processes.lock"
)

func (w *workspace) runDir() string   { return filepath.Join(w.dir, "run") }
func (w *workspace) relayDir() string { return filepath.Join(w.dir, "run", "relay") }
func (w *workspace) tmpDir() string   { return filepath.Join(w.dir, "run", "tmp") }
func (w *workspace) stageDir() string { return filepath.Join(w.dir, "stage") }

// ignored is the name of a database that nobody has: the private server applies no changes of rows of its tables.
func (w *workspace) ignored() string { return "tidemark-" + w.state.ID }

// logFile is the path of a tool's log.
func (w *workspace) logFile(tool string) string { return filepath.Join(w.dir, tool+".log") }

// claim makes the target directory ours, until release. What an interrupted restore has left there
// stays; anything else there is refused.
func claim(fsys durable.FS, target string) (*workspace, error) {
	target, err := resolve(target)
	if err != nil {
		return nil, err
	}
	w := &workspace{fsys: fsys, target: target, dir: target + workSuffix}
	if err := w.claim(); err != nil {
		w.release()
		return nil, err
	}
	return w, nil
}

func resolve(target string) (string, error) {
	target, err := filepath.Abs(target)
	if err != nil {
		return "", err
	}
	if resolved, err := filepath.EvalSymlinks(target); err == nil {
		target = resolved
	}
	return target, nil
}

func (w *workspace) claim() error {
	if err := durable.MkdirAll(w.fsys, w.dir); err != nil {
		return fmt.Errorf("make the working directory: %w", err)
	}
	if err := w.acquire(); err != nil {
		return err
	}
	if err := w.load(); err != nil {
		return err
	}
	if err := w.outlive(); err != nil {
		return err
	}
	return w.vacant()
}

// vacant refuses a target that holds anything but what an interrupted restore has left.
func (w *workspace) vacant() error {
	occupied, err := w.occupied()
	if err != nil || !occupied {
		return err
	}
	if w.left = w.ours(); w.left {
		return nil
	}
	if w.state.Step == stepDone && w.state.Target == w.target {
		return fault.New(fault.TargetNotEmpty, "restore into", w.target, errors.New("it holds a restore that is complete")).
			WithHint("Nothing is left to do: start a server on it. To restore anew, choose another directory, or move away what is in this one.")
	}
	return fault.New(fault.TargetNotEmpty, "restore into", w.target, errors.New("it is not empty, and nothing there tells that a restore was interrupted")).
		WithHint("Choose another directory, or move away what is in this one.")
}

// outlive waits until no program runs any more that an interrupted restore had started. They end with the
// one that started them, where the system can see to that, but not at the same instant.
func (w *workspace) outlive() (err error) {
	path := filepath.Join(w.dir, processesLock)
	for range 600 {
		if w.held, err = durable.TryLock(path); !errors.Is(err, durable.ErrLocked) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fault.New(fault.Locked, "restore into", w.target, errors.New("a program that an interrupted restore had started still runs")).
		WithHint("End it: `fuser -v " + path + "` names it.")
}

// acquire locks the working directory for as long as this process lives.
func (w *workspace) acquire() error {
	f, err := w.fsys.Open(w.dir)
	if err != nil {
		return err
	}
	w.lock = f
	fd, ok := f.(interface{ Fd() uintptr })
	if !ok {
		return nil // not the machine's file system
	}
	err = syscall.Flock(int(fd.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fault.New(fault.Locked, "restore into", w.target, errors.New("another restore into this directory is running"))
	}
	return err
}

func (w *workspace) release() {
	if w.held != nil {
		w.held.Release()
	}
	if w.lock != nil {
		w.lock.Close()
	}
}

// occupied reports whether the target holds anything; a file system's own directory does not count, nor does
// a temporary file: one of ours that was to become the marker.
func (w *workspace) occupied() (bool, error) {
	entries, err := w.fsys.ReadDir(w.target, func(e fs.DirEntry) bool { return e.Name() != "lost+found" && !durable.IsTemp(e.Name()) })
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return len(entries) > 0, err
}

// wipe empties the target, the marker last.
func (w *workspace) wipe() error {
	entries, err := w.fsys.ReadDir(w.target, func(e fs.DirEntry) bool { return e.Name() != marker && e.Name() != "lost+found" })
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(w.target, e.Name())); err != nil {
			return err
		}
	}
	if err := w.fsys.SyncDir(w.target); err != nil { // or the marker could go, and they stay
		return err
	}
	return durable.Remove(w.fsys, filepath.Join(w.target, marker))
}

// sweep removes a marker that was not finished.
func (w *workspace) sweep() error {
	temps, err := w.fsys.ReadDir(w.target, func(e fs.DirEntry) bool { return durable.IsTemp(e.Name()) })
	for _, e := range temps {
		err = errors.Join(err, w.fsys.Remove(filepath.Join(w.target, e.Name())))
	}
	return err
}

// begin removes what an interrupted restore has left, records that the target is being filled, and makes
// the directories.
func (w *workspace) begin(p *Plan, now time.Time) error {
	if w.left {
		if err := w.wipe(); err != nil {
			return fmt.Errorf("remove what an interrupted restore left: %w", err)
		}
	}
	for _, name := range []string{"server.log", "prepare.log"} {
		if err := os.RemoveAll(filepath.Join(w.dir, name)); err != nil {
			return err
		}
	}
	w.state = state{Version: stateVersion, ID: uuid.NewString(), Target: w.target, Cluster: p.base.ClusterUUID, Timeline: p.Timeline, Base: p.Base.ID, Excluded: p.excludedGTIDs(),
		To: p.Target, Begun: now.UTC(), Boot: bootID(), Account: mysqld.NewAccount(), Step: stepFill, Applied: p.beginning()}
	if err := w.save(); err != nil {
		return err
	}
	if err := durable.MkdirAll(w.fsys, w.target); err != nil {
		return fmt.Errorf("make the target directory: %w", err)
	}
	if err := w.sweep(); err != nil {
		return fmt.Errorf("remove what an interrupted restore left: %w", err)
	}
	if err := durable.WriteFileAtomic(w.fsys, filepath.Join(w.target, marker), []byte(w.state.ID+"\n")); err != nil {
		return err
	}
	w.left = true
	return w.makeDirs()
}

// makeDirs makes the directories of a running restore, empty.
func (w *workspace) makeDirs() error {
	if err := w.removeDirs(); err != nil {
		return err
	}
	for _, dir := range w.dirs() {
		if err := w.fsys.Mkdir(dir); err != nil {
			return err
		}
	}
	return nil
}

func (w *workspace) removeDirs() error {
	return errors.Join(os.RemoveAll(w.runDir()), os.RemoveAll(w.stageDir()))
}

// dirs are the directories that exist while a restore runs.
func (w *workspace) dirs() []string {
	return []string{w.runDir(), w.relayDir(), w.tmpDir(), w.stageDir()}
}

// own gives the directories to the user that runs the server.
func (w *workspace) own(user mysqld.User) error {
	return user.Own(append(w.dirs(), w.dir, w.target)...)
}

// inherit is what the programs that we run keep open.
func (w *workspace) inherit() *os.File {
	if w.held == nil {
		return nil
	}
	return w.held.File()
}
