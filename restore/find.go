package restore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
)

// spot is where a target lies: after everything that ends at or before an offset in the source file
// of the segment with the index.
type spot struct {
	i      int
	offset uint64
}

// found is a target in the log, and what was seen on the way.
type found struct {
	spot
	said   []suspect // what a search for a time has to say of transactions
	hidden int       // more of them
	early  int       // that claim a time at or after the target, and were received long before it
	unread []unread  // segments that hold such

	statement *Transaction // the one that was looked for
}

// seek looks the target up. A target that the log does not hold is refused with the nearest ones
// that it does; where the log is damaged before the target could be found, the damage is named.
func (h *history) seek(ctx context.Context, t Target) (*found, error) {
	if len(h.segments) == 0 {
		if h.broken != nil {
			return nil, h.broken
		}
		return nil, h.unreachable(t, errors.New("the archive holds no log yet"))
	}
	switch t.kind {
	case toTime:
		return h.findTime(ctx, t)
	case toGTID:
		if t.set != nil {
			s, err := h.findSet(ctx, t)
			return &found{spot: s}, err
		}
		s, err := h.findGTIDs(ctx, t)
		return &found{spot: s}, err
	case beforeGTID:
		if t.set != nil {
			s, _, err := h.locateOne(ctx, t)
			return &found{spot: s}, err
		}
		s, err := h.findBefore(ctx, t)
		return &found{spot: s}, err
	case toPosition:
		s, err := h.findPosition(t)
		return &found{spot: s}, err
	case beforeStatement:
		return h.findStatement(ctx, t)
	}
	if h.broken != nil {
		return nil, h.broken
	}
	return &found{spot: spot{len(h.segments) - 1, h.last().Source.End}}, nil
}

// findPosition finds the place of a source file and an offset. Source files of one name are told
// apart by server and time; which of them is meant cannot be told.
func (h *history) findPosition(t Target) (spot, error) {
	var files []catalog.Source // each from its first to its last archived offset
	var indexes [][]int
	for i, s := range h.segments {
		if s.Source.File != t.point.File {
			continue
		}
		if n := len(files) - 1; n >= 0 && files[n].SameFile(s.Source) {
			files[n].End = s.Source.End
			indexes[n] = append(indexes[n], i)
			continue
		}
		files, indexes = append(files, s.Source), append(indexes, []int{i})
	}
	switch {
	case len(files) == 0 && h.broken != nil:
		return spot{}, h.broken
	case len(files) == 0:
		return spot{}, h.unreachable(t, errors.New("the archive holds no such file"))
	case len(files) > 1:
		return spot{}, h.ambiguous(t, indexes)
	}
	f, offset := files[0], t.point.Offset
	if f.Start == 4 {
		offset = max(offset, 4) // the magic is before everything
	}
	if offset < f.Start || offset > f.End {
		if offset > f.End && h.broken != nil {
			return spot{}, h.broken
		}
		return spot{}, h.unreachable(t, fmt.Errorf("the archive holds that file from %d to %d", f.Start, f.End))
	}
	for _, i := range indexes[0] {
		if s := h.segments[i]; s.Source.Start <= offset && offset <= s.Source.End {
			return spot{i, offset}, nil
		}
	}
	return spot{}, h.unreachable(t, errors.New("that part of the file is missing in the archive"))
}

// ambiguous refuses a file name that several files had.
func (h *history) ambiguous(t Target, indexes [][]int) error {
	lines := make([]string, len(indexes))
	for n, list := range indexes {
		first, last := h.segments[list[0]], h.segments[list[len(list)-1]]
		lines[n] = fmt.Sprintf("of server %d, from %d to %d, segments %d to %d, from %s on", first.Source.ServerID,
			first.Source.Start, last.Source.End, first.First, last.Last, stamp(fileTime(first)))
	}
	return fault.New(fault.Unreachable, "plan a restore to", t.String(), fmt.Errorf("%d files had that name: %s", len(lines), strings.Join(lines, "; "))).
		WithHint("Name the transaction instead, with --to-gtid or --before-gtid, or the time with --to-time.")
}
