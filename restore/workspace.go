package restore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"

	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/internal/mysqld"
)

// workspace is the target directory and what a restore keeps beside it, in "<target>.tidemark":
// state.json, which says whether the target is ours; the logs of the tools; and while it runs, run/
// for the server and stage/ for relay logs that are not handed to it yet.
type workspace struct {
	fsys   durable.FS
	target string
	dir    string
	state  state
	lock   durable.File
}

// state is state.json.
type state struct {
	Version int       `json:"version"`
	ID      string    `json:"id"` // also in the target's marker file
	Target  string    `json:"target_dir"`
	Cluster string    `json:"cluster"`
	To      string    `json:"target"`
	Base    string    `json:"base"`
	Begun   time.Time `json:"begun"`
	Done    bool      `json:"done"`
}

// marker is a file in the target that holds the ID of the restore that fills it. Without it, what is
// in the target is not ours, whatever state.json says.
const marker = ".tidemark-restore"

func (w *workspace) runDir() string   { return filepath.Join(w.dir, "run") }
func (w *workspace) relayDir() string { return filepath.Join(w.dir, "run", "relay") }
func (w *workspace) stageDir() string { return filepath.Join(w.dir, "stage") }

// logFile is the path of a tool's log.
func (w *workspace) logFile(tool string) string { return filepath.Join(w.dir, tool+".log") }

// claim makes the target directory ours, until release. It removes what an interrupted restore has
// left there, and reports that; anything else there is refused.
func claim(fsys durable.FS, target string) (w *workspace, restarted bool, err error) {
	if target, err = filepath.Abs(target); err != nil {
		return nil, false, err
	}
	if resolved, err := filepath.EvalSymlinks(target); err == nil {
		target = resolved
	}
	w = &workspace{fsys: fsys, target: target, dir: target + ".tidemark"}
	if restarted, err = w.claim(); err != nil {
		w.release()
		return nil, false, err
	}
	return w, restarted, nil
}

func (w *workspace) claim() (restarted bool, err error) {
	if err := durable.MkdirAll(w.fsys, w.dir); err != nil {
		return false, fmt.Errorf("make the working directory: %w", err)
	}
	if err := w.acquire(); err != nil {
		return false, err
	}
	if err := w.load(); err != nil {
		return false, err
	}
	occupied, err := w.occupied()
	if err != nil || !occupied {
		return false, err
	}
	if !w.ours() {
		return false, fault.New(fault.TargetNotEmpty, "restore into", w.target, errors.New("it is not empty, and nothing there tells that a restore was interrupted")).
			WithHint("Choose another directory, or move away what is in this one.")
	}
	if err := w.wipe(); err != nil {
		return false, fmt.Errorf("remove what an interrupted restore left: %w", err)
	}
	return true, nil
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
	if w.lock != nil {
		w.lock.Close()
	}
}

// load reads state.json. A working directory that holds other things than ours is refused.
func (w *workspace) load() error {
	entries, err := w.fsys.ReadDir(w.dir, nil)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(w.dir, "state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		for _, e := range entries {
			if !durable.IsTemp(e.Name()) {
				return fault.New(fault.TargetNotEmpty, "restore with the working directory", w.dir, errors.New("it is not empty and not ours")).
					WithHint("Choose another target directory, or move away what is in this one.")
			}
		}
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &w.state); err != nil {
		return fault.New(fault.TargetNotEmpty, "read", filepath.Join(w.dir, "state.json"), err).
			WithHint("Remove the directory " + w.dir + " if no restore runs.")
	}
	return nil
}

// occupied reports whether the target holds anything; a file system's own directory does not count.
func (w *workspace) occupied() (bool, error) {
	entries, err := w.fsys.ReadDir(w.target, func(e fs.DirEntry) bool { return e.Name() != "lost+found" })
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return len(entries) > 0, err
}

// ours reports whether the target was filled by a restore that did not end.
func (w *workspace) ours() bool {
	id, err := os.ReadFile(filepath.Join(w.target, marker))
	return err == nil && !w.state.Done && w.state.ID != "" && w.state.Target == w.target && strings.TrimSpace(string(id)) == w.state.ID
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
	return durable.Remove(w.fsys, filepath.Join(w.target, marker))
}

// begin records that the target is being filled, and makes the directories.
func (w *workspace) begin(p *Plan, now time.Time) error {
	for _, name := range []string{"run", "stage", "server.log", "prepare.log"} {
		if err := os.RemoveAll(filepath.Join(w.dir, name)); err != nil {
			return err
		}
	}
	w.state = state{Version: 1, ID: uuid.NewString(), Target: w.target, Cluster: p.Cluster, To: p.Target, Base: p.Base.ID, Begun: now.UTC()}
	if err := w.save(); err != nil {
		return err
	}
	if err := durable.MkdirAll(w.fsys, w.target); err != nil {
		return fmt.Errorf("make the target directory: %w", err)
	}
	if err := durable.WriteFileAtomic(w.fsys, filepath.Join(w.target, marker), []byte(w.state.ID+"\n")); err != nil {
		return err
	}
	for _, dir := range w.dirs() {
		if err := w.fsys.Mkdir(dir); err != nil {
			return err
		}
	}
	return nil
}

// dirs are the directories that exist while a restore runs.
func (w *workspace) dirs() []string {
	return []string{w.runDir(), w.relayDir(), filepath.Join(w.runDir(), "tmp"), w.stageDir()}
}

// own gives the directories to the user that runs the server.
func (w *workspace) own(user mysqld.User) error {
	return user.Own(append(w.dirs(), w.dir, w.target)...)
}

func (w *workspace) save() error {
	data, err := json.MarshalIndent(w.state, "", " ")
	if err != nil {
		return err
	}
	return durable.WriteFileAtomic(w.fsys, filepath.Join(w.dir, "state.json"), append(data, '\n'))
}

// finish makes all that was written durable, and the owner's. The logs stay.
func (w *workspace) finish(owner mysqld.User) error {
	err := filepath.WalkDir(w.target, func(path string, e fs.DirEntry, err error) error {
		if err == nil {
			err = owner.Own(path)
		}
		switch {
		case err != nil:
			return err
		case e.IsDir():
			return w.fsys.SyncDir(path)
		case !e.Type().IsRegular():
			return nil
		}
		f, err := w.fsys.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Sync()
	})
	if err != nil {
		return fmt.Errorf("make the restored files durable: %w", err)
	}
	w.state.Done = true
	if err := w.save(); err != nil {
		return err
	}
	if err := durable.Remove(w.fsys, filepath.Join(w.target, marker)); err != nil {
		return err
	}
	for _, dir := range []string{w.runDir(), w.stageDir()} {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}
