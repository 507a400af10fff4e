package verify

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/gtid"
)

// events reads a segment to its end, which checks every stored and plain byte and the checksum of
// every event, and finds again what its manifest says of the events.
func (v *verifier) events(s *catalog.Segment) error {
	defer v.read(s.Stored)
	r, err := v.cat.OpenSegment(v.ctx, s)
	if err != nil {
		return v.blame(s.Stored.Key, err)
	}
	defer r.Close()
	count, err := newRecount(s)
	if err != nil {
		v.add(Damage, catalog.SegmentKey(s.Timeline, s.First, s.Last), kindDamaged, "%s", err)
		return nil
	}
	for {
		ev, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return v.blame(s.Stored.Key, err)
		}
		if err := count.add(ev, r.Body(ev)); err != nil {
			v.add(Damage, s.Stored.Key, kindDamaged, "%s", err)
			return nil
		}
	}
	for _, d := range count.differences(r.Point(), r.Format()) {
		v.add(Damage, catalog.SegmentKey(s.Timeline, s.First, s.Last), kindInconsistent, "%s", d)
	}
	return nil
}

// recount is what the events of a segment say, to be compared with its manifest.
type recount struct {
	seg          *catalog.Segment
	head         *gtid.State // the position list in the segment's own head; nil if it has none
	state        *gtid.State
	events       uint64
	transactions uint64
	servers      []uint32
	commit       catalog.TimeRange
	body         uint64 // bytes so far

	begun     time.Time // of the transaction under way
	begunAt   uint64    // where it begins in the body
	tail      gtid.GTID // the last transaction
	tailAt    uint64    // where it begins in the body
	undo      gtid.Undo // takes it back
	tailBytes hash.Hash // of what the manifest says is the tail
}

func newRecount(s *catalog.Segment) (*recount, error) {
	state, err := s.Before.LogState(s.Source.Flavor())
	if err != nil {
		return nil, fmt.Errorf("the position before it: %w", err)
	}
	return &recount{seg: s, state: state, tailBytes: sha256.New()}, nil
}

// add counts one event or fragment.
func (c *recount) add(ev *binlog.Event, body []byte) error {
	if ev.Head {
		listed, err := binlog.ListedState(ev, body)
		if listed != nil {
			c.head = listed
		}
		return err
	}
	at := c.body
	if tail := c.seg.Tail.Offset - c.seg.Source.Start; at+uint64(len(ev.Data)) > tail {
		skip := uint64(0)
		if tail > at {
			skip = tail - at
		}
		c.tailBytes.Write(ev.Data[skip:])
	}
	c.body += uint64(len(ev.Data))
	if ev.First {
		c.events++
		if !slices.Contains(c.servers, ev.ServerID) {
			c.servers = append(c.servers, ev.ServerID)
		}
		if ev.Begin {
			c.begun, c.begunAt = ev.CommitTime(), at
		}
		listed, err := binlog.ListedState(ev, body)
		if err != nil {
			return err
		}
		if listed != nil {
			c.follow(listed)
		}
	}
	if ev.Last && ev.End {
		c.undo = c.state.Add(ev.GTID)
		c.tail, c.tailAt = ev.GTID, c.begunAt
		c.transactions++
		c.time(c.begun)
	}
	return nil
}

// follow takes in what a file lists as having come before it. Earlier archivers took only that for what came before,
// also on a MySQL server that lists less than was archived from another one.
func (c *recount) follow(listed *gtid.State) {
	if after, err := gtid.ParseSet(c.seg.After.GTID); c.state.Set() != nil && err == nil && !after.ContainsSet(c.state.Set()) {
		c.state = listed
		return
	}
	c.state.Follow(listed)
}

func (c *recount) time(t time.Time) {
	r := &c.commit
	if c.transactions == 1 {
		r.First, r.Min, r.Max = t, t, t
	}
	r.Last = t
	if t.Before(r.Min) {
		r.Min = t
	}
	if t.After(r.Max) {
		r.Max = t
	}
}

// differences compares the count with the manifest. end is where in the source the events end, and
// format the description they are read with.
func (c *recount) differences(end binlog.Point, format *binlog.FormatDescription) (all []string) {
	s := c.seg
	differ := func(what string, manifest, events any) {
		if fmt.Sprint(manifest) != fmt.Sprint(events) {
			all = append(all, fmt.Sprintf("it says %s %v, the events say %v", what, manifest, events))
		}
	}
	if c.head != nil {
		head := catalog.PositionOf(c.head)
		differ("position before it", s.Before.GTID, head.GTID)
		differ("binlog state before it", s.Before.State, head.State)
	}
	differ("events", s.Events, c.events)
	differ("transactions", s.Transactions, c.transactions)
	differ("server IDs", s.ServerIDs, slices.Sorted(slices.Values(c.servers)))
	differ("it ends at", s.Source.EndPoint(), end)
	after := catalog.PositionOf(c.state)
	differ("position after it", s.After.GTID, after.GTID)
	differ("binlog state after it", s.After.State, after.State)
	for _, t := range []struct {
		what             string
		manifest, events time.Time
	}{
		{"first commit time", s.Commit.First, c.commit.First}, {"last commit time", s.Commit.Last, c.commit.Last},
		{"least commit time", s.Commit.Min, c.commit.Min}, {"greatest commit time", s.Commit.Max, c.commit.Max},
	} {
		differ(t.what, t.manifest.UTC(), t.events.UTC())
	}
	differ("tail GTID", s.Tail.GTID, c.tail)
	differ("tail offset", s.Tail.Offset, s.Source.Start+c.tailAt)
	differ("tail bytes", s.Tail.Bytes, c.body-c.tailAt)
	differ("tail SHA-256", fmt.Sprintf("%x", s.Tail.SHA256), fmt.Sprintf("%x", c.tailBytes.Sum(nil)))
	if c.transactions > 0 {
		c.state.Revert(c.undo)
	}
	before := catalog.PositionOf(c.state)
	differ("position before its tail", s.Tail.Before.GTID, before.GTID)
	differ("binlog state before its tail", s.Tail.Before.State, before.State)
	if format != nil {
		differ("format", fmt.Sprintf("%x", s.Source.Format), fmt.Sprintf("%x", format.Fingerprint()))
		differ("format time", s.Source.FileCreated, format.Timestamp)
	}
	return all
}
