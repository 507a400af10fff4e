package restore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"tidemark/internal/catalog"
	"tidemark/internal/gtid"
)

// located is a transaction of the log.
type located struct {
	gtid   gtid.GTID
	i      int // index of its segment
	start  uint64
	end    uint64
	before *gtid.State // of the log before it
	after  *gtid.State
}

func (l *located) less(m *located) bool { return l.i < m.i || l.i == m.i && l.start < m.start }

// findGTIDs finds the point of the log at which the transactions named are the last of their domains.
func (h *history) findGTIDs(ctx context.Context, t Target) (spot, error) {
	var first, last *located
	for _, g := range t.gtids {
		l, err := h.startOfLog(ctx, g)
		if l == nil && err == nil {
			l, err = h.locate(ctx, t, g)
		}
		if err != nil {
			return spot{}, err
		}
		if first == nil || l.less(first) {
			first = l
		}
		if last == nil || last.less(l) {
			last = l
		}
	}
	for _, g := range t.gtids {
		if last.after.Tip(g.Domain) != g {
			return spot{}, h.noPrefix(t, first.after, last.after)
		}
	}
	return spot{last.i, last.end}, nil
}

// findBefore finds the point of the log after which the transactions named are the next of their
// domains.
func (h *history) findBefore(ctx context.Context, t Target) (spot, error) {
	list := make([]*located, len(t.gtids))
	var first, last *located
	for k, g := range t.gtids {
		l, err := h.locate(ctx, t, g)
		if err != nil {
			return spot{}, err
		}
		list[k] = l
		if first == nil || l.less(first) {
			first = l
		}
		if last == nil || last.less(l) {
			last = l
		}
	}
	for _, l := range list {
		if l.before.Tip(l.gtid.Domain) != first.before.Tip(l.gtid.Domain) {
			return spot{}, h.noPrefix(t, first.before, last.before)
		}
	}
	return spot{first.i, first.start}, nil
}

// noPrefix refuses transactions that no point of the log separates from what follows them.
func (h *history) noPrefix(t Target, before, after *gtid.State) error {
	touched := func(p *gtid.State) string {
		q := make(gtid.Position)
		for _, g := range t.gtids {
			if tip := p.Tip(g.Domain); !tip.IsZero() {
				q[g.Domain] = tip
			}
		}
		return orNone(q.String())
	}
	return h.unreachable(t, fmt.Errorf("the log was never exactly there: the nearest positions of these domains that it went through are %s and %s",
		touched(before), touched(after)))
}

// startOfLog finds a transaction that was the last of its domain where a part of the log without
// holes begins. It returns nil if it was not.
func (h *history) startOfLog(ctx context.Context, g gtid.GTID) (*located, error) {
	for _, r := range h.stretches {
		i := r.first
		for i < r.end-1 && h.segments[i].Transactions == 0 {
			i++
		}
		s := h.segments[i]
		pos, err := h.position(s.Before)
		if err != nil {
			return nil, err
		}
		if pos.Empty() { // the first file itself may say what was before it
			a, err := h.around(ctx, s, s.Source.Start)
			if err != nil {
				return nil, err
			}
			pos = a.position
		}
		if pos.Tip(g.Domain) == g {
			return &located{gtid: g, i: i, start: s.Source.Start, end: s.Source.Start, before: pos, after: pos}, nil
		}
	}
	return nil, nil
}

// locate finds one transaction. The manifests tell in which segments it can be; only those are read.
func (h *history) locate(ctx context.Context, t Target, g gtid.GTID) (*located, error) {
	candidates, err := h.candidates(g)
	if err != nil {
		return nil, err
	}
	var hit *located
	for _, i := range candidates {
		l, err := h.locateIn(ctx, t, i, g)
		switch {
		case err != nil:
			return nil, err
		case l == nil:
		case hit != nil:
			return nil, h.twice(t, hit, l)
		default:
			hit = l
		}
	}
	if hit != nil {
		return hit, nil
	}
	if h.broken != nil {
		return nil, h.broken
	}
	for _, r := range h.stretches {
		if r.hole != nil && !errors.Is(r.hole, catalog.ErrExpired) {
			return nil, r.hole
		}
	}
	return nil, h.unreachable(t, fmt.Errorf("transaction %s is not in the archived log, which goes from %s to %s", g,
		orNone(h.segments[0].Before.GTID), orNone(h.last().After.GTID)))
}

func (h *history) sourceOf(l *located) string {
	return fmt.Sprintf("%s:%d", h.segments[l.i].Source.File, l.start)
}

// candidates returns the indexes of the segments in which a transaction can be. Where the numbers of
// its server rise, as they must in strict mode, that is the one in which they pass it; otherwise each
// in which they change.
func (h *history) candidates(g gtid.GTID) ([]int, error) {
	var passed, changed []int
	rising := true
	for i, s := range h.segments {
		before, err := sequence(s.Before, g)
		if err != nil {
			return nil, err
		}
		after, err := sequence(s.After, g)
		if err != nil {
			return nil, err
		}
		rising = rising && before <= after
		if before != after {
			changed = append(changed, i)
		}
		if before < g.Seq && g.Seq <= after {
			passed = append(passed, i)
		}
	}
	if rising {
		return passed, nil
	}
	return changed, nil
}

// sequence returns the last number that the server of g has used in its domain at a position; 0 if
// none.
func sequence(p catalog.Position, g gtid.GTID) (uint64, error) {
	prefix := fmt.Sprintf("%d-%d-", g.Domain, g.Server)
	for _, s := range p.State {
		if rest, ok := strings.CutPrefix(s, prefix); ok {
			n, err := strconv.ParseUint(rest, 10, 64)
			if err != nil {
				return 0, errors.Join(fmt.Errorf("binlog state holds %q", s), err)
			}
			return n, nil
		}
	}
	return 0, nil
}

// locateIn looks for a transaction in the segment with the index; nil if it is not there.
func (h *history) locateIn(ctx context.Context, t Target, i int, g gtid.GTID) (*located, error) {
	s := h.segments[i]
	pos, err := h.position(s.Before)
	if err != nil {
		return nil, err
	}
	var hit *located
	for tx, err := range transactions(ctx, h.c, s, pos) {
		if err != nil {
			return nil, err
		}
		if tx.gtid == g {
			l := &located{gtid: g, i: i, start: tx.start, end: tx.end, before: pos.Clone()}
			if hit != nil {
				return nil, h.twice(t, hit, l)
			}
			l.after = pos.Clone()
			l.after.Add(g)
			hit = l
		}
	}
	return hit, nil
}

func (h *history) twice(t Target, a, b *located) error {
	return h.unreachable(t, fmt.Errorf("transaction %s is in the log more than once: at %s and %s", a.gtid, h.sourceOf(a), h.sourceOf(b)))
}
