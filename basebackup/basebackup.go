// Package basebackup takes base backups: physical copies of a server's data directory, streamed into
// the archive in parts, without a copy on local disk and in memory that does not grow with the data.
//
// An engine makes the stream and says where in the log the copy is consistent. A backup exists when its
// manifest does, and that is put only when the archived log holds the transactions up to that place:
// until then there is nothing but objects that no manifest names, which are removed on any failure.
package basebackup

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/internal/keys"
	"tidemark/storage"
)

// Engine copies a running server.
type Engine interface {
	// Name is the format of the stream: "mbstream", "clone". It ends the keys of the parts.
	Name() string
	// Check returns an error, with a hint, when a backup cannot be taken. It changes nothing.
	Check(ctx context.Context) error
	// Stream writes the copy to w. Only with a nil error is the stream whole and the copy usable.
	// When it returns, nothing it started runs any more.
	Stream(ctx context.Context, w io.Writer) (Info, error)
}

// Info is what an engine says of the copy it made.
type Info struct {
	ToolVersion   string
	ServerVersion string
	Flavor        gtid.Flavor
	ServerID      uint32
	ServerUUID    string
	Source        binlog.Point              // where in the server's binlog the copy is consistent
	File          *binlog.FormatDescription // of Source's file; nil where it cannot be read
	GTID          string                    // the GTID position there, as the server says it
	SourceMin     binlog.Point              // as GTIDMin, in the binlog; only its file is sure
	GTIDMin       string                    // "" or, where GTID is only an upper bound, what the copy holds at least
	FromLSN       uint64
	ToLSN         uint64
	Consistent    time.Time // by the server's clock; the copy holds nothing that was committed later
	Variables     map[string]string
	EmptyTables   []string
	UncopiedFiles []string // of the databases, by their paths in the data directory
}

// Defaults of Options.
const (
	DefaultPartSize    = 1 << 30
	DefaultWaitCovered = 10 * time.Minute
)

// Options of a backup. Catalog, Engine and Clock must be set.
type Options struct {
	Catalog  *catalog.Catalog
	Engine   Engine
	Clock    clock.Clock
	Timeline uint32 // whose log must cover the backup; 0: the newest
	PartSize int64  // plain bytes in a part; 0: DefaultPartSize
	Threads  int    // that compress; 0: one

	Recipients *keys.Recipients // who can open the backup; nil: everybody who can read it

	// WaitCovered is how long to wait, once the copy is made, for the archived log to reach its
	// position; 0: DefaultWaitCovered.
	WaitCovered time.Duration

	Writer   string         // who takes it, for the manifest
	Version  string         // of this program, for the manifest
	Progress func(Progress) // called about once a second and at every new phase, never twice at a time; may be nil
}

// cleanup bounds the time that is spent on removing what a failed backup has stored.
const cleanup = time.Minute

// Take takes a base backup and returns its manifest, which is in the archive then. On an error, which
// is that of the context if that ended, it is not, and what was stored has been removed as far as
// storage allowed.
func Take(ctx context.Context, o Options) (*catalog.Base, error) {
	if o.PartSize <= 0 {
		o.PartSize = DefaultPartSize
	}
	if o.WaitCovered <= 0 {
		o.WaitCovered = DefaultWaitCovered
	}
	t := &taking{o: o, base: &catalog.Base{ClusterUUID: o.Catalog.Cluster.UUID, Engine: o.Engine.Name(), Writer: o.Writer, CreatedBy: o.Version}}
	t.report = newReporter(o.Clock, o.Progress)
	defer t.report.close()
	if err := t.take(ctx); err != nil {
		t.discard(ctx)
		return nil, err
	}
	// It says no more than the manifest; what stays of it is swept.
	_ = o.Catalog.EndBase(ctx, t.base.ID)
	t.report.phase(Done, "")
	return t.base, nil
}

// taking is one backup in the making.
type taking struct {
	o      Options
	base   *catalog.Base
	begun  bool     // it is recorded that it is being stored
	keys   []string // of the parts stored, or on their way
	keep   bool     // the manifest may be in the archive: the parts must stay
	report *reporter
}

func (t *taking) take(ctx context.Context) error {
	t.report.phase(Check, "")
	line, err := t.o.Catalog.Timeline(ctx, t.o.Timeline)
	if err != nil {
		return err
	}
	t.base.Timeline = line.Number
	last, err := t.o.Catalog.Last(ctx, line.Number)
	if err != nil {
		return err
	}
	if err := t.o.Engine.Check(ctx); err != nil {
		return err
	}
	t.base.Started = t.o.Clock.Now().UTC()
	if t.base.ID, err = newID(t.base.Started); err != nil {
		return err
	}
	t.report.phase(Copy, "")
	t.begun = true
	if err := t.o.Catalog.BeginBase(ctx, t.base); err != nil {
		return err
	}
	info, err := t.copy(ctx)
	if err != nil {
		return err
	}
	t.describe(info)
	from := uint64(0)
	if last != nil {
		from = last.First // the copy is younger than what was archived when it began
	}
	if err := t.cover(ctx, from, info); err != nil {
		return err
	}
	t.base.Finished = t.o.Clock.Now().UTC()
	t.report.phase(Commit, "")
	return t.commit(ctx)
}

// newID names a backup by the time it began, so that names sort, and apart from any other.
func newID(now time.Time) (string, error) {
	var b [2]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	return now.Format("20060102T150405Z-") + hex.EncodeToString(b[:]), nil
}

// describe fills in what the engine says.
func (t *taking) describe(i Info) {
	b := t.base
	b.ToolVersion, b.ServerVersion, b.Flavor = i.ToolVersion, i.ServerVersion, i.Flavor
	b.ServerID, b.ServerUUID, b.Source = i.ServerID, i.ServerUUID, i.Source
	b.FromLSN, b.ToLSN, b.Consistent = i.FromLSN, i.ToLSN, i.Consistent.UTC()
	b.Variables, b.EmptyTables, b.UncopiedFiles = i.Variables, i.EmptyTables, i.UncopiedFiles
	if n := len(i.UncopiedFiles); n > 0 && t.o.Recipients != nil { // manifests are plain
		b.UncopiedFiles = []string{fmt.Sprintf("%d files that an encrypted archive does not name", n)}
	}
}

// commit puts the manifest. A put whose outcome is unknown is tried again, and in the end looked for.
func (t *taking) commit(ctx context.Context) error {
	t.keep = true
	var err error
	for _, pause := range []time.Duration{0, time.Second, 5 * time.Second} {
		if pause > 0 {
			select {
			case <-ctx.Done():
			case <-t.o.Clock.After(pause):
			}
		}
		if err = t.o.Catalog.PutBase(ctx, t.base); err == nil {
			return nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
	defer cancel()
	_, there := t.o.Catalog.BaseAt(look, t.base.ID)
	if there == nil {
		return nil
	}
	t.keep = !errors.Is(there, storage.ErrNotExist)
	if t.keep {
		return fault.New(fault.KindOf(err), "commit base backup", t.base.ID, fmt.Errorf("whether it is in the archive is not known: %w", err)).
			WithHint("See with `tidemark list` whether it is there when the storage can be reached again.")
	}
	return fmt.Errorf("commit base backup %s: %w", t.base.ID, err)
}

// discard removes what was stored, also after the context has ended.
func (t *taking) discard(ctx context.Context) {
	if t.keep || !t.begun {
		return
	}
	t.report.phase(Discard, "")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
	defer cancel()
	for _, key := range t.keys {
		if err := t.o.Catalog.Discard(ctx, key); err != nil {
			return // what stays is swept as any orphan is
		}
	}
	_ = t.o.Catalog.EndBase(ctx, t.base.ID)
}
