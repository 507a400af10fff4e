package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"tidemark/internal/binlog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/storage"
)

// PutBase puts the manifest of a base backup: from then on it exists. Its parts must be there
// already, and the log must cover its position.
func (c *Catalog) PutBase(ctx context.Context, b *Base) error {
	return c.putNew(ctx, baseKey(b.ID), baseToWire(b))
}

// Bases returns all base backups that have not expired by ascending ID, which is the order of their start.
func (c *Catalog) Bases(ctx context.Context) ([]*Base, error) {
	list, err := c.listBases(ctx)
	if err != nil {
		return nil, err
	}
	e, err := c.Expiry(ctx) // after the listing: what has been removed since is named there
	return slices.DeleteFunc(list, func(b *Base) bool { return e.Has(b.ID) }), err
}

func (c *Catalog) listBases(ctx context.Context) ([]*Base, error) {
	var list []*Base
	prefix := c.key("base/")
	after := ""
	for {
		next := ""
		for o, err := range c.store.List(ctx, prefix, after) {
			if err != nil {
				return nil, fmt.Errorf("list base backups: %w", err)
			}
			id, name, _ := strings.Cut(strings.TrimPrefix(o.Key, prefix), "/")
			if name != "manifest.json" { // a part: step to the manifest
				next = prefix + id + "/manifest.jso"
				if after >= next || name > "manifest.json" {
					next = prefix + id + "0"
				}
				break
			}
			b, err := c.base(ctx, o.Key, id)
			if errors.Is(err, storage.ErrNotExist) {
				continue // removed after it was listed
			}
			if err != nil {
				return nil, err
			}
			list = append(list, b)
		}
		if next == "" {
			return list, nil
		}
		after = next
	}
}

func (c *Catalog) base(ctx context.Context, key, id string) (*Base, error) {
	m, err := readObject(ctx, c.store, key, newBase)
	if err != nil {
		return nil, err
	}
	if err := c.ours(key, m.ClusterUuid); err != nil {
		return nil, err
	}
	b, err := baseFromWire(m)
	if err == nil && b.ID != id {
		err = fmt.Errorf("it is the manifest of base backup %s", b.ID)
	}
	if err == nil && len(b.Parts) == 0 {
		err = errors.New("it has no parts")
	}
	for i, p := range b.Parts {
		if err == nil && p.Number != uint32(i+1) {
			err = fmt.Errorf("part %d stands where part %d belongs", p.Number, i+1)
		}
	}
	if err != nil {
		return nil, damaged("read", key, err)
	}
	return b, nil
}

// OpenPart opens one part of a base backup. Reading to io.EOF has checked every byte.
func (c *Catalog) OpenPart(ctx context.Context, p Part) (io.ReadCloser, error) {
	return c.Open(ctx, p.Stored)
}

// OpenPartAhead does what OpenPart does, for whoever reads one part after the other and wants them fast: several
// pieces of it are on their way from storage while those before them are decrypted, and others decompressed. It
// takes 70 MiB of memory, and up to 120 where there are more cores.
func (c *Catalog) OpenPartAhead(ctx context.Context, p Part) (io.ReadCloser, error) {
	return c.open(ctx, p.Stored, func(ctx context.Context, key string) (io.ReadCloser, error) {
		return storage.Ahead(ctx, c.store, key, p.Stored.Size)
	}, min(max(2, runtime.GOMAXPROCS(0)), mostThreads))
}

// mostThreads decompress a part that is read ahead: each holds a frame, as it is stored and plain.
const mostThreads = 8

// Place is where in the log a position of a source lies.
type Place struct {
	Segment *Segment
	Number  uint64      // of the member of Segment, as it was first sealed
	State   *gtid.State // the binlog state there; nil inside an encrypted segment
}

// NotReached says that the log does not hold a position of a source yet.
type NotReached struct {
	Point binlog.Point
	Last  *Segment // the newest; nil when there is none
}

// Error says how far the log reaches.
func (e *NotReached) Error() string {
	if e.Last == nil {
		return fmt.Sprintf("the archived log does not reach %s; there is none yet", e.Point)
	}
	return fmt.Sprintf("the archived log does not reach %s; it ends at %s", e.Point, e.Last.Source.EndPoint())
}

// Locate finds in the log of a timeline, from the segment that covers number from on, the place that
// a source calls p: the end of p.Offset bytes of a file. The error is a *NotReached while the log
// does not hold it, and of kind Unreachable when p is not between two transactions.
func (c *Catalog) Locate(ctx context.Context, timeline uint32, from uint64, serverID uint32, p binlog.Point) (*Place, error) {
	var found, last *Segment
	for s, err := range c.Segments(ctx, timeline, from) {
		if err != nil {
			return nil, err
		}
		last = s
		if s.Source.ServerID == serverID && s.Source.File == p.File && s.Source.Start < p.Offset && p.Offset <= s.Source.End {
			found = s // the last one: file names repeat after RESET MASTER
		}
	}
	if found == nil {
		return nil, &NotReached{Point: p, Last: last}
	}
	place := &Place{Segment: found, Number: found.Last}
	end := found.Source.Start
	for _, m := range found.Members {
		if end += m.BodyBytes; p.Offset <= end {
			place.Number = m.Number
			break
		}
	}
	var err error
	if p.Offset == found.Source.End || len(found.Stored.Recipients) == 0 {
		place.State, err = c.stateAt(ctx, found, p.Offset)
	}
	return place, err
}

// stateAt returns the binlog state at an offset of a segment's source file.
func (c *Catalog) stateAt(ctx context.Context, s *Segment, offset uint64) (*gtid.State, error) {
	if offset == s.Source.End {
		return s.After.LogState(s.Source.Flavor())
	}
	state, err := s.Before.LogState(s.Source.Flavor())
	if err != nil {
		return nil, err
	}
	r, err := c.OpenSegment(ctx, s)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for {
		ev, err := r.Next()
		if err == io.EOF {
			err = damaged("read segment "+s.Name()+" in", s.Stored.Key, io.ErrUnexpectedEOF)
		}
		if err != nil {
			return nil, err
		}
		if ev.Head || !ev.Last {
			continue
		}
		listed, err := binlog.ListedState(ev, r.Body(ev))
		switch {
		case err != nil:
			return nil, c.segmentError(s, err)
		case listed != nil:
			state.Follow(listed)
		case ev.End:
			state.Add(ev.GTID)
		}
		if end := ev.EndOffset(); end >= offset {
			if end > offset || ev.Open {
				return nil, fault.New(fault.Unreachable, "find", binlog.Point{File: s.Source.File, Offset: offset}.String(),
					errors.New("the archived log has no place between two transactions there"))
			}
			return state, nil
		}
	}
}

// VerifyPart reads a part and checks its plain bytes as well as its stored ones.
func (c *Catalog) VerifyPart(ctx context.Context, p Part) error {
	r, err := c.OpenPart(ctx, p)
	if err != nil {
		return err
	}
	defer r.Close()
	sum, err := drain(r)
	if err == nil && sum != p.PlainSHA256 {
		err = damaged("read", p.Stored.Key, errors.New("its plain bytes do not match the manifest's SHA-256"))
	}
	return err
}
