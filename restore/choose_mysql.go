package restore

import (
	"errors"
	"fmt"
)

// chooseClone returns the newest base backup of a MySQL server that holds nothing behind the stop, which
// lies in the segment with the index i. What it holds exactly only a server tells that runs on it: its
// upper bound must be reached at the stop, and from its lower bound on the log must be there.
func (h *history) chooseClone(t Target, i int, stop *surroundings) (*chosen, error) {
	why := errTooEarly
	if len(h.bases) == 0 {
		why = errors.New("there is no base backup")
	}
	r := h.stretchOf(i)
	for k := range h.basesToTry() {
		b := h.bases[k]
		least, err := h.position(b.PositionMin)
		if err != nil {
			return nil, err
		}
		most, err := h.position(b.PositionMax)
		if err != nil {
			return nil, err
		}
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
			if !least.Covers(after) {
				break
			}
		}
		return &chosen{base: b, i: first, offset: h.segments[first].Source.Start, position: least}, nil
	}
	return nil, h.unreachable(t, why)
}
