package restore

import (
	"fmt"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// keepGrowing lets the positions of MySQL's log hold, from the segment with an index on, all that came before them in
// their stretch. Earlier archivers took what a binlog file lists for all that came before it; a server that was filled
// with a copy of another one lists less than was archived from that one.
func (h *history) keepGrowing(from int) error {
	if h.c.Cluster.Flavor != gtid.MySQL {
		return nil
	}
	for _, r := range h.stretches {
		lost := new(gtid.Set) // of what came before
		for i := max(from, r.first+1); i < r.end; i++ {
			s, prev := h.segments[i], h.segments[i-1]
			listed := s.Source.Start == uint64(len(binlog.Magic)) || s.Timeline != prev.Timeline
			if !listed && i > from && lost.Empty() {
				continue
			}
			had, err := h.position(prev.After)
			if err != nil {
				return err
			}
			has, err := h.position(s.After)
			if err != nil {
				return err
			}
			lost.Union(had.Without(has).Set())
			if lost.Empty() {
				continue
			}
			has.Advance(gtid.NewSetState(lost))
			s.Before, s.After = prev.After, catalog.PositionOf(has)
		}
	}
	return nil
}

// agrees reports whether the log of a timeline's parent, cut where the timeline begins, is at the position with which it
// begins; see keepGrowing for what it may have more.
func (h *history) agrees(cut *catalog.Segment, begins catalog.Position) (bool, error) {
	if h.c.Cluster.Flavor != gtid.MySQL || cut.After.Equal(begins) {
		return cut.After.Equal(begins), nil
	}
	at, err := h.position(cut.After)
	if err != nil {
		return false, err
	}
	before, err := h.position(cut.Before)
	if err != nil {
		return false, err
	}
	want, err := h.position(begins)
	if err != nil {
		return false, err
	}
	return at.Covers(want) && before.Covers(at.Without(want)), nil
}

// unlogged returns what a base backup of MySQL, which lies in the segment with an index, holds that is in no log.
func (h *history) unlogged(b *catalog.Base, i int) (*gtid.State, error) {
	set, err := b.Unlogged(h.segments[i])
	if err != nil {
		return nil, err
	}
	return gtid.NewSetState(set), nil
}

// logged returns a set of GTIDs as the log can hold it: without what a base backup holds that no log does, which a
// server's own gtid_executed names too.
func (h *history) logged(set *gtid.Set) (*gtid.Set, error) {
	rest := set.Clone()
	for _, b := range h.bases {
		i, ok := h.find(b.Timeline, b.Segment)
		if !ok {
			continue
		}
		u, err := h.unlogged(b, i)
		if err != nil {
			return nil, err
		}
		if set.ContainsSet(u.Set()) {
			rest.Subtract(u.Set())
		}
	}
	return rest, nil
}

// nameDeleted adds to the position of MariaDB's base backup the domains that it holds without naming them, as they were
// deleted from the log before it, and that another server's list brings back before the stop.
func (h *history) nameDeleted(from *chosen, stop *gtid.State) error {
	if h.c.Cluster.Flavor != gtid.MariaDB {
		return nil
	}
	for _, g := range stop.Without(from.position).List() {
		for i := from.i - 1; i >= h.stretchOf(from.i).first; i-- {
			after, err := h.position(h.segments[i].After)
			if err != nil {
				return err
			}
			if tip := after.Tip(g.Domain); !tip.IsZero() {
				if tip == g {
					from.position.Add(g)
				}
				break
			}
		}
	}
	return nil
}

// warnUnlogged warns of what a base backup behind the chosen one holds that no log does, and the chosen one does not: it
// may have been done before the target. That is not known of a server.
func (p *Plan) warnUnlogged(h *history, from *chosen) error {
	if h.c.Cluster.Flavor != gtid.MySQL {
		return nil
	}
	r := h.stretchOf(from.i)
	for _, b := range h.bases {
		i, ok := h.find(b.Timeline, b.Segment)
		if !ok || i < r.first || i >= r.end || basePlace(b).compare(basePlace(from.base)) <= 0 {
			continue
		}
		u, err := h.unlogged(b, i)
		if err != nil {
			return err
		}
		if more := u.Without(from.unlogged); !more.Empty() {
			p.Warnings = append(p.Warnings, fmt.Sprintf("base backup %s, which is later than %s, holds %s, which is in no log: "+
				"what the primary was filled with in between, or did without its binlog, is not restored", b.ID, from.base.ID, more))
			return nil
		}
	}
	return nil
}

// settleStart takes in what the base backup holds, once its server says so: of what is in no log it may hold
// anything between what was there before the copy and behind it.
func (p *Plan) settleStart(at *gtid.State) error {
	most := p.position.Clone()
	most.Advance(p.unlogged)
	if !at.Covers(p.start) || !most.Covers(at) {
		return fault.New(fault.Integrity, "use base backup", p.base.ID,
			fmt.Errorf("it holds %s, and its manifest says at least %s and at most %s",
				orNone(at.String()), orNone(p.start.String()), p.base.PositionMax.GTID)).
			WithHint("Run `tidemark verify`, and choose another base backup by a target before this one.")
	}
	p.position.Advance(at)
	p.Stop.GTID = p.position.String()
	return nil
}
