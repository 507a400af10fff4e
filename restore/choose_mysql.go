package restore

import (
	"errors"
	"fmt"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
)

// Engines, as manifests have them.
const (
	engineMariaDB    = "mbstream"
	engineClone      = "clone"
	engineXtraBackup = "xbstream"
)

// unknownEngine refuses a base backup.
func unknownEngine(b *catalog.Base) error {
	return fault.New(fault.Integrity, "use base backup", b.ID, fmt.Errorf("its engine is %q, which this version cannot restore", b.Engine)).
		WithHint("Run `tidemark verify`, and choose a target before this base backup, or take a new one.")
}

// chooseMySQL returns the newest base backup of a MySQL server that holds nothing behind the stop, which
// lies in the segment with the index i. What a clone holds exactly only a server tells that runs on it: its
// upper bound must be reached at the stop, and from its lower bound on the log must be there.
func (h *history) chooseMySQL(t Target, i int, stop *surroundings) (*chosen, error) {
	why := errTooEarly
	if len(h.bases) == 0 {
		why = errors.New("there is no base backup")
	}
	var across error // from the newest of the base backups between which and the stop a barrier lies
	r := h.stretchOf(i)
	for k := range h.basesToTry() {
		b := h.bases[k]
		if b.Engine != engineClone && b.Engine != engineXtraBackup {
			return nil, unknownEngine(b)
		}
		n, ok := h.find(b.Timeline, b.Segment)
		if !ok || h.stretchOf(n).first != r.first { // equal GTIDs would prove nothing
			continue
		}
		unlogged, err := h.unlogged(b, n)
		if err != nil {
			return nil, err
		}
		least, err := h.position(b.PositionMin)
		if err != nil {
			return nil, err
		}
		most, err := h.position(b.PositionMax)
		if err != nil {
			return nil, err
		}
		most = most.Without(unlogged)
		if !stop.position.Covers(most) {
			continue
		}
		if t.kind == toTime && t.time.Before(b.Consistent) && stop.position.SamePosition(most) {
			// No transaction behind it tells that what it holds was all there was at that time.
			why = fmt.Errorf("%w: base backup %s is of %s", errTooEarly, b.ID, stamp(b.Consistent))
			continue
		}
		first := r.first
		before, err := h.position(h.segments[first].Before)
		if err != nil {
			return nil, err
		}
		if !least.Covers(before) {
			why = fmt.Errorf("%w: the log before base backup %s is missing", errTooEarly, b.ID)
			continue
		}
		for ; first < i; first++ {
			after, err := h.position(h.segments[first].After)
			if err != nil {
				return nil, err
			}
			// Where it reaches what the base holds, however long nothing follows: so it is the same for every
			// stop, and a restore may be resumed with another one.
			if !least.Covers(after) || after.Covers(least.Without(unlogged)) {
				break
			}
		}
		c := &chosen{base: b, i: first, offset: h.segments[first].Source.Start, position: least, unlogged: unlogged}
		if b, s := h.barrierBetween(n, c.base.Source.Offset, spot{i, stop.boundary}); b != nil {
			if across == nil {
				across = h.atBarrier(t, c.base, b, s)
			}
			continue
		}
		return c, nil
	}
	if across != nil {
		return nil, across
	}
	return nil, h.unreachable(t, h.before(i, why))
}
