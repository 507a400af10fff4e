package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"tidemark/internal/durable"
	"tidemark/internal/fault"
)

// Position is where a check that reads a subset at a time stands, and how the last one ended. It is kept
// in the state directory of the cluster, so that the next run goes on with the next part.
type Position struct {
	Version int      `json:"version"`
	Of      int      `json:"of"`   // parts; 0: none was read yet
	Done    int      `json:"done"` // the last part that was read to its end
	Last    *Outcome `json:"last,omitempty"`
}

// Outcome is how a check ended.
type Outcome struct {
	Started      time.Time `json:"started"`
	Finished     time.Time `json:"finished"`
	What         string    `json:"what"` // "data 3/20", "stored bytes", "manifests"
	Objects      int64     `json:"objects"`
	ReadBytes    int64     `json:"read_bytes"`
	Damage       int       `json:"damage"`   // findings
	Warnings     int       `json:"warnings"` // findings
	FirstFinding string    `json:"first_finding,omitempty"`
	Error        string    `json:"error,omitempty"` // why it could not be done
}

const (
	positionName    = "verify.json"
	positionVersion = 1
)

// ReadPosition reads the position in a directory. Without one, or when it does not read, a new round
// begins: nothing but the order of reading hangs on it.
func ReadPosition(fsys durable.FS, dir string) (*Position, error) {
	f, err := fsys.Open(filepath.Join(dir, positionName))
	if errors.Is(err, fs.ErrNotExist) {
		return new(Position), nil
	}
	if err != nil {
		return nil, positionError("read", dir, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil, positionError("read", dir, err)
	}
	p := new(Position)
	if json.Unmarshal(data, p) != nil || p.Version != positionVersion {
		return new(Position), nil
	}
	return p, nil
}

// Next returns the part to read next, of so many.
func (p *Position) Next(of int) Subset {
	if p.Of != of || p.Done < 1 || p.Done >= of {
		return Subset{1, of}
	}
	return Subset{p.Done + 1, of}
}

// Read records that a part was read to its end.
func (p *Position) Read(s Subset) {
	if s.Of > 0 {
		p.Of, p.Done = s.Of, s.Part
	}
}

// Save keeps the position in a directory.
func (p *Position) Save(fsys durable.FS, dir string) error {
	p.Version = positionVersion
	data, err := json.MarshalIndent(p, "", " ")
	if err == nil {
		err = durable.MkdirAll(fsys, dir)
	}
	if err == nil {
		err = durable.WriteFileAtomic(fsys, filepath.Join(dir, positionName), append(data, '\n'))
	}
	if err != nil {
		return positionError("record", dir, err)
	}
	return nil
}

func positionError(op, dir string, err error) error {
	return fault.New(fault.Config, op+" how far the checks of subsets are in", dir, err).
		WithHint("Run it as the user that runs tidemark, or name the part yourself, as --subset 3/20.")
}

// Outcome sums a report up.
func (r *Report) Outcome(started, finished time.Time) *Outcome {
	o := &Outcome{Started: started, Finished: finished, What: r.what, Objects: r.Objects, ReadBytes: r.ReadBytes,
		Damage: r.Count(Damage), Warnings: r.Count(Warning)}
	for _, s := range []Severity{Damage, Warning} {
		for _, f := range r.Findings {
			if f.Severity == s && o.FirstFinding == "" {
				o.FirstFinding = fmt.Sprintf("%s: %s", f.Object, f.Problem)
			}
		}
	}
	return o
}

// What says what is read.
func (o Options) What() string {
	what := "manifests"
	switch {
	case o.Data:
		what = "data"
	case o.Stored:
		what = "stored bytes"
	}
	if o.Subset.Of > 0 {
		what += " " + o.Subset.String()
	}
	return what
}
