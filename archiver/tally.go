package archiver

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"tidemark/internal/barrier"
	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/gtid"
)

// tally counts what a segment holds up to its last boundary: what its manifest will say. What
// follows the boundary is kept apart until the next one, so that it can be dropped.
type tally struct {
	body         uint64 // bytes
	events       uint64
	transactions uint64
	servers      []uint32
	commit       catalog.TimeRange
	barriers     []catalog.Barrier // see catalog.AddBarrier

	// The last transaction: what a reconnect asks for again.
	gtid gtid.GTID
	at   uint64 // where it begins in the body
	undo gtid.Undo

	pend pending
}

// pending is what came after the last boundary.
type pending struct {
	bytes   uint64
	events  uint64
	servers []uint32
	gtid    gtid.GTID
	commit  time.Time
	at      uint64 // where its transaction begins in the body
	open    bool
	barrier *catalog.Barrier // the first one
}

// add counts one event or fragment, and brings state forward at the end of a transaction. It
// reports whether the log may be cut behind it.
func (t *tally) add(ev *binlog.Event, body []byte, state *gtid.State) (boundary bool, err error) {
	p := &t.pend
	if ev.First {
		p.events++
		if !slices.Contains(p.servers, ev.ServerID) {
			p.servers = append(p.servers, ev.ServerID)
		}
		if ev.Begin {
			p.gtid, p.commit, p.at = ev.GTID, ev.CommitTime(), t.body+p.bytes
		}
		if kind, what := barrier.Find(ev, body); kind != "" && p.barrier == nil {
			p.barrier = &catalog.Barrier{Kind: string(kind), Offset: ev.Offset, Time: ev.Time(), What: what}
			if ev.Open || ev.End {
				p.barrier.GTID = ev.GTID.String()
			}
		}
		listed, err := binlog.ListedState(ev, body)
		if err != nil {
			return false, err
		}
		if listed != nil {
			state.Follow(listed)
		}
	}
	p.bytes += uint64(len(ev.Data))
	p.open = ev.Open
	if !ev.Boundary() {
		return false, nil
	}
	if ev.End {
		t.undo = state.Add(p.gtid)
		t.gtid, t.at = p.gtid, p.at
		t.transactions++
		t.time(p.commit)
	}
	t.body += p.bytes
	t.events += p.events
	if p.barrier != nil {
		t.barriers = catalog.AddBarrier(t.barriers, *p.barrier)
	}
	for _, id := range p.servers {
		if !slices.Contains(t.servers, id) {
			t.servers = append(t.servers, id)
		}
	}
	t.drop()
	return true, nil
}

// lastBarrier is the zero value if there is none.
func (t *tally) lastBarrier() (b catalog.Barrier) {
	if n := len(t.barriers); n > 0 {
		b = t.barriers[n-1]
	}
	return b
}

// drop forgets what came after the last boundary.
func (t *tally) drop() { t.pend = pending{servers: t.pend.servers[:0]} }

func (t *tally) time(c time.Time) {
	r := &t.commit
	if t.transactions == 1 {
		*r = catalog.TimeRange{First: c, Min: c, Max: c, Precision: precision(t.pend.gtid)}
	}
	r.Last = c
	if c.Before(r.Min) {
		r.Min = c
	}
	if c.After(r.Max) {
		r.Max = c
	}
}

// precision is that of commit times.
func precision(g gtid.GTID) time.Duration {
	if g.UUID != (gtid.UUID{}) {
		return time.Microsecond
	}
	return time.Second
}

// tailState is the binlog state before the last transaction, given the one after it.
func (t *tally) tailState(after *gtid.State) *gtid.State {
	s := after.Clone()
	if t.transactions > 0 {
		s.Revert(t.undo)
	}
	return s
}

// fill writes the tally into a manifest.
func (t *tally) fill(s *catalog.Segment, after *gtid.State) {
	s.After = catalog.PositionOf(after)
	s.BodyBytes = t.body
	s.Events = t.events
	s.Transactions = t.transactions
	s.ServerIDs = slices.Sorted(slices.Values(t.servers))
	s.Commit = t.commit
	s.Barriers = slices.Clone(t.barriers)
	s.Source.End = s.Source.Start + t.body
	s.Tail = &catalog.Tail{GTID: t.gtid.String(), Offset: s.Source.Start + t.at, Bytes: t.body - t.at,
		Before: catalog.PositionOf(t.tailState(after))}
}

func short(d [sha256.Size]byte) string { return hex.EncodeToString(d[:6]) }
