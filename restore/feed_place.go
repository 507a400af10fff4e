package restore

import (
	"context"
	"maps"

	"tidemark/internal/binlog"
)

// track follows which transaction an event belongs to, and whether the server has it already.
func (f *feed) track(ev *binlog.Event) {
	if ev.First && ev.Begin {
		f.pending, f.skipping = ev.GTID, f.skip[ev.GTID.Domain] > 0
	} else if !ev.Open && !ev.End { // what was never finished ends so
		f.skipping = false
	}
}

// holds reports whether the server is known to have the open transaction, and passes over it: MySQL does that itself.
func (f *feed) holds() bool { return f.pos.Set() != nil && f.pos.Set().Contains(f.pending) }

// passed counts an event or fragment that has been written or left out.
func (f *feed) passed(ctx context.Context, ev *binlog.Event) error {
	if ev.Last && ev.End {
		f.applied++
		if f.skipping {
			f.skipping = false
			f.skip[f.pending.Domain]--
		} else {
			f.pos.Add(f.pending)
		}
	}
	if !ev.Boundary() {
		return nil
	}
	f.offset = ev.EndOffset()
	if f.file != nil {
		f.file.boundary(f.applied)
	}
	if f.inside || f.fragile.over(f.written()) {
		f.inside = false
		return f.endFragile(ctx)
	}
	return nil
}

// written is the length of what has been written, of all files.
func (f *feed) written() int64 {
	if f.file == nil {
		return f.bytes
	}
	return f.bytes + f.file.size
}

// checkpoint is the last boundary.
func (f *feed) checkpoint() checkpoint {
	p := at(f.segment, f.offset)
	return checkpoint{Timeline: p.timeline, Segment: p.number, Offset: p.offset, GTID: f.pos.String(), Transactions: f.applied, Bytes: f.bytes, Ahead: maps.Clone(f.skip),
		Emptied: f.emptied.list(), Doubtful: f.xids.doubtfulXIDs()}
}
