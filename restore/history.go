package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/storage"
)

// history is what the archive holds of one timeline and of its past on those that it began from:
// manifests only, no data.
type history struct {
	c         *catalog.Catalog
	timeline  *catalog.Timeline
	segments  []*catalog.Segment // ascending by timeline and number; contiguous inside a stretch
	slab      []catalog.Segment  // where the last of them are: together they take less memory
	stretches []stretch
	bases     []*catalog.Base // ascending by place
	preferred int             // index of the one to be tried first; negative: none is
	chosen    *chosen         // by a plan that this is for; nil before
	leftOut   map[gtid.GTID]bool
	head      *catalog.Head
	broken    error // why the log cannot be read on after its last segment; nil at its proper end
	warnings  []string
}

// stretch is a part of the log without holes: segments[first:end].
type stretch struct {
	first, end int
	hole       error     // what is wrong after it; nil for the last one
	covered    time.Time // until when it is known to be all there was, at the end of a timeline
}

// place is a point of the log: an offset in the source file of the segment with the number. In a
// history places are ordered by timeline, number and offset.
type place struct {
	timeline uint32
	number   uint64
	offset   uint64
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.timeline, q.timeline), cmp.Compare(p.number, q.number), cmp.Compare(p.offset, q.offset))
}

// readHistory reads all manifests of a timeline, and those of its past. Holes in the log are kept, not
// returned: what lies before or after them may be all that is needed.
func readHistory(ctx context.Context, c *catalog.Catalog, number uint32) (*history, error) {
	lineage, err := c.Lineage(ctx, number)
	if err != nil {
		return nil, err
	}
	t := lineage[0]
	h := &history{c: c, timeline: t, preferred: -1}
	if err := h.readBases(ctx, lineage); err != nil {
		return nil, err
	}
	for i, t := range slices.Backward(lineage) {
		if h.head, err = c.LastHead(ctx, t.Number); err != nil {
			return nil, err
		}
		if err := h.readLog(ctx, t); err != nil {
			return nil, err
		}
		if err := h.checkHead(); err != nil {
			return nil, err
		}
		if i > 0 {
			if err := h.leave(ctx, lineage[i-1]); err != nil {
				return nil, err
			}
		}
	}
	return h, h.keepGrowing(0)
}

// leave ends what was read of a timeline where the next one begins: there its log is cut if that goes
// on from it, and else there is a hole.
func (h *history) leave(ctx context.Context, next *catalog.Timeline) error {
	covered := h.coveredUntil()
	if !next.Continues() {
		if n := len(h.stretches); n > 0 && h.stretches[n-1].hole == nil {
			h.stretches[n-1].hole, h.stretches[n-1].covered = gapBefore(next), covered
		}
		h.broken = nil
		return nil
	}
	i, there := h.find(next.Parent, next.ParentSegment)
	if !there { // broken before it: what is left behind it is not the past of what follows
		past := func(s *catalog.Segment) bool { return s.Timeline == next.Parent && s.First > next.ParentSegment }
		h.segments = slices.DeleteFunc(h.segments, past)
		h.stretches = slices.DeleteFunc(h.stretches, func(r stretch) bool { return r.first >= len(h.segments) })
		h.bases = slices.DeleteFunc(h.bases, func(b *catalog.Base) bool { return b.Timeline == next.Parent && b.Segment >= next.ParentSegment })
		if n := len(h.stretches); n > 0 {
			h.stretches[n-1].end = min(h.stretches[n-1].end, len(h.segments))
		}
		if n := len(h.stretches); n > 0 && h.stretches[n-1].hole == nil {
			h.stretches[n-1].hole = fault.New(fault.Integrity, "read the chain", catalog.SegmentKey(next.Parent, next.ParentSegment, next.ParentSegment), errors.New("the segment is missing")).
				WithHint("Run `tidemark verify` to see what is missing; points before it can still be restored.")
		}
		return nil
	}
	s := h.segments[i]
	end := s.Source.Start + next.ParentBodyOffset
	for _, m := range s.Members {
		if m.Number < next.ParentSegment {
			end += m.BodyBytes
		}
	}
	h.segments, h.broken = h.segments[:i+1], nil
	h.stretches = slices.DeleteFunc(h.stretches, func(r stretch) bool { return r.first > i })
	h.stretches[len(h.stretches)-1].end, h.stretches[len(h.stretches)-1].hole = i+1, nil
	left := at(s, end)
	h.bases = slices.DeleteFunc(h.bases, func(b *catalog.Base) bool {
		return b.Timeline == next.Parent && basePlace(b).compare(left) > 0
	})
	if end == s.Source.End {
		return nil
	}
	cut, err := h.cut(ctx, s, end)
	same := false
	if err == nil {
		same, err = h.agrees(cut, next.Position)
	}
	if err == nil && !same {
		err = fault.New(fault.Integrity, "read timeline", fmt.Sprint(next.Number), fmt.Errorf("it begins at GTID position %s, and the log of timeline %d there is at %s",
			orNone(next.Position.GTID), next.Parent, orNone(cut.After.GTID))).WithHint("Run `tidemark verify --data` to see everything that is damaged.")
	}
	h.segments[i] = cut
	return err
}

// gapBefore is the hole before a timeline that does not go on from its parent.
func gapBefore(t *catalog.Timeline) error {
	why := "the primary's binlog was reset"
	switch {
	case t.Skipped == 0 && t.ParentSegment != 0 && len(t.Gaps) == 0:
		return expiredBehind(t, fmt.Sprintf("its log where timeline %d begins", t.Number))
	case t.Skipped > 0:
		why = "the archive is a copy of a part of another one"
	case t.Reason == "restore":
		why = "the primary was restored, and went on with the binlog that the one before it had left"
	case t.Reason == "gap":
		why = "binlogs were purged before they were archived"
	}
	from, to := t.Position.GTID, ""
	if len(t.Gaps) > 0 {
		from, to = t.Gaps[0].From.GTID, t.Gaps[0].To.GTID
	}
	return fault.New(fault.Unreachable, "read the log across a gap", "", fmt.Errorf("%s: what came between GTID position %s and %s is not in the archive", why, orNone(from), orNone(to))).
		WithHint(fmt.Sprintf("Restore to a point before it, or to one after the first base backup of timeline %d; `tidemark list` shows them.", t.Number))
}

// expiredBehind is the hole behind a part of the log that was left when what follows it expired.
func expiredBehind(t *catalog.Timeline, what string) error {
	return fault.New(fault.Unreachable, "read the log", "", fmt.Errorf("%s: %w", what, catalog.ErrExpired)).
		WithHint(fmt.Sprintf("Restore to a point of the recovery window of timeline %d, or to the end of a base backup that is kept; `tidemark list` shows them.", t.Number))
}

// cut describes a segment as if it ended at an offset of its source file. Its object stays what it is.
func (h *history) cut(ctx context.Context, s *catalog.Segment, end uint64) (*catalog.Segment, error) {
	state, err := s.Before.LogState(h.c.Cluster.Flavor)
	if err != nil {
		return nil, err
	}
	short := *s
	short.Source.End, short.Transactions, short.Commit = end, 0, catalog.TimeRange{Precision: s.Commit.Precision}
	for tx, err := range transactions(ctx, h.c, &short, state) {
		if err != nil {
			return nil, err
		}
		c := &short.Commit
		if short.Transactions++; short.Transactions == 1 {
			c.First, c.Min, c.Max = tx.time, tx.time, tx.time
		}
		c.Last = tx.time
		if tx.time.Before(c.Min) {
			c.Min = tx.time
		}
		if tx.time.After(c.Max) {
			c.Max = tx.time
		}
	}
	short.After = catalog.PositionOf(state)
	return &short, nil
}

// readBases reads the manifests of the base backups of all timelines of the history. One that is
// damaged is warned of and passed over: an older one may do.
func (h *history) readBases(ctx context.Context, lineage []*catalog.Timeline) error {
	expiry, err := h.c.Expiry(ctx)
	if err != nil {
		return err
	}
	for o, err := range h.c.Objects(ctx, "base/") {
		if err != nil {
			return err
		}
		if o.Class != catalog.ClassBase || expiry.Has(o.Base) {
			continue
		}
		b, err := h.c.BaseAt(ctx, o.Base)
		switch {
		case fault.Is(err, fault.Integrity):
			h.warnings = append(h.warnings, fmt.Sprintf("base backup %s is passed over: %v", o.Base, err))
		case errors.Is(err, storage.ErrNotExist): // expired meanwhile
		case err != nil:
			return err
		case slices.ContainsFunc(lineage, func(t *catalog.Timeline) bool { return t.Number == b.Timeline }):
			h.bases = append(h.bases, b)
		}
	}
	slices.SortStableFunc(h.bases, func(a, b *catalog.Base) int { return basePlace(a).compare(basePlace(b)) })
	return nil
}

func basePlace(b *catalog.Base) place { return place{b.Timeline, b.Segment, b.Source.Offset} }

// readLog reads the manifests of a timeline from the first one on. After a hole it goes on with the next
// base backup: only from there can the log be used again.
func (h *history) readLog(ctx context.Context, t *catalog.Timeline) error {
	if err := h.readKept(ctx, t); err != nil {
		return err
	}
	from := uint64(0)
	for {
		first := len(h.segments)
		var broken error
		for s, err := range h.c.Segments(ctx, t.Number, from) {
			if err != nil {
				broken = err
				break
			}
			h.keep(s, len(h.segments) > first)
		}
		if broken != nil && !fault.Is(broken, fault.Integrity) {
			return broken
		}
		if n := len(h.stretches); len(h.segments) > first {
			if goesOn := n > 0 && h.stretches[n-1].hole == nil && from == 0 && h.segments[first].First == 1; goesOn {
				h.stretches[n-1].end, h.stretches[n-1].hole = len(h.segments), broken
			} else {
				h.stretches = append(h.stretches, stretch{first: first, end: len(h.segments), hole: broken})
			}
		} else if n > 0 && h.stretches[n-1].hole == nil {
			h.stretches[n-1].hole = broken // the beginning is missing
		}
		h.broken = broken
		if broken == nil {
			return nil
		}
		reached := from
		if n := len(h.segments); n > first {
			reached = max(reached, h.segments[n-1].Last)
		}
		i := slices.IndexFunc(h.bases, func(b *catalog.Base) bool { return b.Timeline == t.Number && b.Segment > reached })
		if i < 0 {
			return nil
		}
		next, err := h.c.LogFrom(ctx, h.bases[i])
		if err != nil && !fault.Is(err, fault.Integrity) {
			return err
		}
		from = min(max(next, reached+2), h.bases[i].Segment) // behind what is missing or damaged
	}
}

// readKept reads what of the expired log of a timeline stays for base backups that are kept: each run is a
// stretch of its own.
func (h *history) readKept(ctx context.Context, t *catalog.Timeline) error {
	for _, k := range t.Expired.Kept {
		first := len(h.segments)
		hole := expiredBehind(t, fmt.Sprintf("what follows segment %d of timeline %d", k.Last, t.Number))
		for s, err := range h.c.KeptSegments(ctx, t, k) {
			if fault.Is(err, fault.Integrity) {
				h.warnings = append(h.warnings, fmt.Sprintf("the log that is kept from segment %d on cannot be used: %v", k.First, err))
				hole = err
				break
			}
			if err != nil {
				return err
			}
			h.keep(s, len(h.segments) > first)
		}
		if len(h.segments) > first {
			h.stretches = append(h.stretches, stretch{first: first, end: len(h.segments), hole: hole})
		}
	}
	return nil
}

// kept reports whether the log that follows the segment with the index has expired.
func (h *history) kept(i int) bool { return errors.Is(h.stretchOf(i).hole, catalog.ErrExpired) }

// keep adds a manifest, without what nobody asks for here, and sharing what is the same in the one
// before it: there may be a hundred thousand.
func (h *history) keep(s *catalog.Segment, follows bool) {
	s.ClusterUUID, s.Writer, s.CreatedBy, s.Tail = h.c.Cluster.UUID, "", "", nil
	if prev := h.last(); follows {
		s.Before = prev.After
		if s.Source.SameFile(prev.Source) {
			s.Source.File, s.Source.Version, s.Source.ServerUUID = prev.Source.File, prev.Source.Version, prev.Source.ServerUUID
		}
		if slices.Equal(s.ServerIDs, prev.ServerIDs) {
			s.ServerIDs = prev.ServerIDs
		}
	}
	if len(h.slab) == cap(h.slab) {
		h.slab = make([]catalog.Segment, 0, 256)
	}
	h.slab = append(h.slab, *s)
	h.segments = append(h.segments, &h.slab[len(h.slab)-1])
}

// checkHead compares the end of the log with the head. A log that has been cut off is broken at its
// end; one that is another than the head's is refused.
func (h *history) checkHead() error {
	err := catalog.CheckHead(h.head, h.digestAfter)
	if err == nil {
		return nil
	}
	if _, there := h.find(h.head.Timeline, h.head.Segment); there {
		return err
	}
	if h.broken == nil {
		h.broken = err
	}
	return nil
}

// digestAfter returns the chain digest after a segment number.
func (h *history) digestAfter(number uint64) (catalog.Digest, bool) {
	i, ok := h.find(h.head.Timeline, number)
	if !ok {
		return catalog.Digest{}, false
	}
	s := h.segments[i]
	d := s.ChainBefore
	for _, m := range s.Members {
		if d = catalog.NextDigest(d, m.BodySHA256); m.Number == number {
			break
		}
	}
	return d, true
}

// find returns the index of the segment of a timeline that covers a number.
func (h *history) find(timeline uint32, number uint64) (int, bool) {
	i, _ := slices.BinarySearchFunc(h.segments, place{timeline: timeline, number: number}, func(s *catalog.Segment, p place) int {
		return cmp.Or(cmp.Compare(s.Timeline, p.timeline), cmp.Compare(s.Last, p.number))
	})
	return i, i < len(h.segments) && h.segments[i].Timeline == timeline && h.segments[i].First <= number
}

// last returns the newest segment, or nil.
func (h *history) last() *catalog.Segment {
	if len(h.segments) == 0 {
		return nil
	}
	return h.segments[len(h.segments)-1]
}

// stretchOf returns the stretch in which the segment with the index lies.
func (h *history) stretchOf(i int) stretch {
	for _, r := range h.stretches {
		if i < r.end {
			return r
		}
	}
	return stretch{}
}

// at returns the place of an offset in a segment, under the number that it had when it was sealed.
func at(s *catalog.Segment, offset uint64) place {
	end := s.Source.Start
	for _, m := range s.Members {
		if end += m.BodyBytes; offset <= end {
			return place{s.Timeline, m.Number, offset}
		}
	}
	return place{s.Timeline, s.Last, offset}
}

// member returns the member of a segment in which the byte at an offset lies.
func member(s *catalog.Segment, offset uint64) catalog.Member {
	end := s.Source.Start
	for _, m := range s.Members {
		if end += m.BodyBytes; offset < end {
			return m
		}
	}
	return s.Members[len(s.Members)-1]
}

// coveredUntil is the moment up to which the archive is known to hold everything; zero if unknown.
func (h *history) coveredUntil() time.Time {
	if h.head == nil {
		return time.Time{}
	}
	return h.head.CoveredUntil
}

// position returns the replica's position that a recorded one describes.
func (h *history) position(p catalog.Position) (*gtid.State, error) {
	pos, err := parsePosition(h.c.Cluster.Flavor, p.GTID)
	if err != nil {
		return nil, fault.New(fault.Integrity, "read a recorded position", p.GTID, err)
	}
	return pos, nil
}

// parsePosition reads a replica's position as the server writes it.
func parsePosition(f gtid.Flavor, text string) (*gtid.State, error) {
	if f == gtid.MySQL {
		set, err := gtid.ParseSet(text)
		if err != nil {
			return nil, err
		}
		return gtid.NewSetState(set), nil
	}
	p, err := gtid.ParsePosition(text)
	if err != nil {
		return nil, err
	}
	return gtid.NewState(p.List()), nil
}

// unreachable refuses a target and names the points that can be reached.
func (h *history) unreachable(t Target, why error) error {
	hint := "There is no base backup: take one with `tidemark backup`."
	switch parent := h.timeline.Parent; {
	case len(h.bases) > 0 && h.last() != nil:
		hint = h.window()
	case parent != 0:
		hint = fmt.Sprintf("Timeline %d has no base backup yet: what was before it can be restored with --timeline %d.", h.timeline.Number, parent)
	}
	return fault.New(fault.Unreachable, "plan a restore to", t.String(), why).WithHint(hint)
}

// window describes the first and the last point that can be restored, on both sides of each hole, and what is kept beside them.
func (h *history) window() string {
	own, windows := "", make([]string, len(h.stretches))
	for _, b := range h.bases {
		i, ok := h.find(b.Timeline, b.Segment)
		if ok && h.kept(i) {
			own += fmt.Sprintf(" Base backup %s, of %s, is kept, and can be restored by itself, with --to-position %s.", b.ID, stamp(b.Consistent), b.Source)
			continue
		}
		for k, r := range h.stretches {
			if ok && windows[k] == "" && r.first <= i && i < r.end {
				windows[k] = fmt.Sprintf("from %s, GTID position %s (%s), to %s", stamp(b.Consistent), orNone(b.PositionMax.GTID), b.Source, h.endOf(r))
			}
		}
	}
	windows = slices.DeleteFunc(windows, func(w string) bool { return w == "" })
	if len(windows) == 0 {
		return "There is no base backup with the log that follows it: take one with `tidemark backup`." + own
	}
	return "The archive can be restored " + strings.Join(windows, ", and ") + "." + own
}

// endOf describes the last point of a run of the log.
func (h *history) endOf(r stretch) string {
	s, covered := h.segments[r.end-1], r.covered
	if r.end == len(h.segments) {
		covered = h.coveredUntil()
	} else if covered.IsZero() {
		covered = s.Commit.Last // nothing is known of what came then
	}
	end := fmt.Sprintf("GTID position %s (%s)", orNone(s.After.GTID), s.Source.EndPoint())
	if !covered.IsZero() {
		end += " and time " + stamp(covered)
	}
	return end
}

// before says why a stop in the segment with the index i cannot be restored: where the log before it is missing that is why.
func (h *history) before(i int, why error) error {
	for k, r := range h.stretches {
		if k > 0 && r.first <= i && i < r.end && h.stretches[k-1].hole != nil && !errors.Is(h.stretches[k-1].hole, catalog.ErrExpired) {
			return fmt.Errorf("%w behind a hole in the log: %w", why, h.stretches[k-1].hole)
		}
	}
	return why
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// fileTime is when a segment's source file was begun.
func fileTime(s *catalog.Segment) time.Time { return time.Unix(int64(s.Source.FileCreated), 0) }
