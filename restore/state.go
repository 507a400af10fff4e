package restore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tidemark/internal/durable"
	"tidemark/internal/fault"
)

// state is state.json: what the same command needs after a crash. It is durable before what it says is
// begun.
//
// The server's own position says what it has applied, but for two things. A transaction that is not
// atomic (see binlog.Atomic) may be there without its GTID: while it has such in hand, this says so.
// And MariaDB applies again what it is given again, so the log must go on exactly behind its position:
// that lies between the checkpoint and the end of the batches handed over since.
type state struct {
	Version  int       `json:"version"`
	ID       string    `json:"id"` // also in the target's marker file
	Target   string    `json:"target_dir"`
	Cluster  string    `json:"cluster_uuid"`
	Timeline uint32    `json:"timeline"`
	Base     string    `json:"base"`
	To       string    `json:"target"`
	Begun    time.Time `json:"begun"`
	Boot     string    `json:"boot_id"` // of the machine, when it began; "" if unknown
	Account  string    `json:"account"` // of our sessions on the private server
	Step     step      `json:"step"`

	Applied  checkpoint `json:"applied"`            // all up to here is in the server, whatever becomes of its process
	Handed   uint64     `json:"handed"`             // transactions up to the end of the last batch that the server got
	HandedTo checkpoint `json:"handed_to"`          // the end of that batch, without Ahead
	Fragile  string     `json:"fragile"`            // from this transaction on, what the server has in hand is not all atomic; "" if it is
	Unsynced bool       `json:"unsynced"`           // some that are not atomic have been applied: a crash of the machine may have undone them
	Failures int        `json:"failures"`           // of the server, in a row, when the restore was resumed
	Failed   string     `json:"failed"`             // the last of them
	Excluded []string   `json:"excluded,omitempty"` // transactions that are left out
	Notes    []string   `json:"notes,omitempty"`    // what is to be said of what has been applied
	Disabled []string   `json:"events_disabled"`    // scheduled events that were so before the log
	Report   *Report    `json:"report,omitempty"`
}

const stateVersion = 2

// step is how far a restore is.
type step string

const (
	stepFill  step = "filling"  // the target is not a server's yet
	stepApply step = "applying" // a server has been started on it, and may be again
	stepDone  step = "done"     // all is there, and may be tidied up
)

// checkpoint is a place in the log, between transactions, and what has been applied there.
type checkpoint struct {
	Timeline     uint32 `json:"timeline"`
	Segment      uint64 `json:"segment"`
	Offset       uint64 `json:"offset"` // in its source file
	GTID         string `json:"gtid"`
	Transactions uint64 `json:"transactions"`
	Bytes        int64  `json:"bytes"` // of relay logs
	// So many of the next transactions of a domain have been applied as well: a server may be farther in one
	// domain than in another.
	Ahead map[uint32]uint64 `json:"ahead,omitempty"`
	// Tables that have rows on the primary and none, or not all, in the server.
	Emptied []tableRef `json:"emptied,omitempty"`
	// XA transactions that the primary may have lost in a crash, by XID.
	Doubtful []string `json:"doubtful,omitempty"`
}

func (c checkpoint) place() place { return place{c.Timeline, c.Segment, c.Offset} }

// marker is a file in the target that holds the ID of the restore that fills it. Without it, what is
// in the target is not ours, whatever state.json says.
const marker = ".tidemark-restore"

// ours reports whether the target was filled by a restore that did not end.
func (w *workspace) ours() bool {
	id, err := os.ReadFile(filepath.Join(w.target, marker))
	return err == nil && w.state.ID != "" && w.state.Target == w.target && strings.TrimSpace(string(id)) == w.state.ID
}

// load reads state.json. A working directory that holds other things than ours is refused.
func (w *workspace) load() error {
	entries, err := w.fsys.ReadDir(w.dir, nil)
	if err != nil {
		return err
	}
	w.state, err = readState(w.dir)
	if errors.Is(err, fs.ErrNotExist) {
		for _, e := range entries {
			if !durable.IsTemp(e.Name()) && e.Name() != processesLock {
				return fault.New(fault.TargetNotEmpty, "restore with the working directory", w.dir, errors.New("it is not empty and not ours")).
					WithHint("Choose another target directory, or move away what is in this one.")
			}
		}
		return nil
	}
	return err
}

func readState(dir string) (s state, err error) {
	path := filepath.Join(dir, "state.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fault.New(fault.TargetNotEmpty, "read", path, err).
			WithHint("Remove the directory " + dir + " if no restore runs.")
	}
	return s, nil
}

func (w *workspace) save() error {
	data, err := json.MarshalIndent(w.state, "", " ")
	if err != nil {
		return err
	}
	return durable.WriteFileAtomic(w.fsys, filepath.Join(w.dir, "state.json"), append(data, '\n'))
}

// InterruptedBase returns the base backup from which an interrupted restore into a directory began, if it
// can be resumed; else "". A plan that begins from it too lets Run resume.
func InterruptedBase(targetDir string) string {
	if st := interrupted(targetDir); st != nil {
		return st.Base
	}
	return ""
}

// interrupted is the state of an interrupted restore into a directory that can be resumed; nil if there is none.
func interrupted(targetDir string) *state {
	target, err := resolve(targetDir)
	if targetDir == "" || err != nil {
		return nil
	}
	w := &workspace{target: target}
	if w.state, err = readState(target + workSuffix); err != nil || !w.ours() || w.state.useless() != "" {
		return nil
	}
	return &w.state
}

// isDone reports whether all that a plan is for was done, and only tidying up was interrupted.
func (s *state) isDone(p *Plan) bool {
	return s.Step == stepDone && s.Version == stateVersion && s.Cluster == p.base.ClusterUUID && s.Timeline == p.Timeline && s.To == p.Target && slices.Equal(s.Excluded, p.excludedGTIDs()) && s.Report != nil
}

// unusable says why what an interrupted restore has left cannot be resumed by a plan; "" if it can, as
// far as is known without its server.
func (s *state) unusable(p *Plan) string {
	why := s.useless()
	switch {
	case why != "":
		return why
	case s.Cluster != p.base.ClusterUUID:
		return "it was a restore of another cluster"
	case !slices.Equal(s.Excluded, p.excludedGTIDs()):
		return "it left out other transactions"
	case s.Base != p.Base.ID:
		return fmt.Sprintf("it began from base backup %s, and this one begins from %s", s.Base, p.Base.ID)
	case p.end().compare(s.Applied.place()) < 0:
		return "it has applied transactions behind this target"
	case !p.holds(s.Applied.place()):
		return fmt.Sprintf("it has applied transactions of timeline %d that are not in the past of timeline %d", s.Timeline, p.Timeline)
	}
	return ""
}

// reach moves the checkpoint to the end of a plan that holds as many transactions: then nothing lies between.
func (s *state) reach(p *Plan) {
	a := &s.Applied
	if end := p.end(); s.Base == p.Base.ID && a.Transactions == p.Transactions && end.compare(a.place()) < 0 {
		a.Timeline, a.Segment, a.Offset = end.timeline, end.number, end.offset
	}
}

// useless says why what an interrupted restore has left cannot be resumed by any plan; "" if it can.
func (s *state) useless() string {
	switch {
	case s.Version != stateVersion:
		return "it was left by another version of this program"
	case s.Step == stepDone:
		return "it was restored to " + s.To
	case s.Step != stepApply:
		return "the base backup was not ready yet"
	case s.Failures > 1:
		return "its server has failed repeatedly: " + s.Failed
	case s.Fragile != "":
		return fmt.Sprintf("it ended while transactions were applied, from %s on, that a crash may leave half done: "+
			"definitions, XA, tables that are temporary or not transactional", s.Fragile)
	case s.Unsynced && (s.Boot == "" || s.Boot != bootID()):
		return "the machine was restarted meanwhile, and changes may be lost that are not transactional"
	}
	return ""
}

// bootID tells one run of the machine from another; "" if it cannot be known.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
