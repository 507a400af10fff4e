package expire

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
)

// Plan says what of an archive stays, what goes, and why. It is made from manifests; as JSON it is a
// result for people and scripts.
type Plan struct {
	WindowBegins time.Time  `json:"window_begins"` // from here on every moment stays restorable
	Bases        []BaseFate `json:"bases"`         // by the time of their start
	Logs         []LogFate  `json:"logs"`          // by timeline
	Warnings     []string   `json:"warnings,omitempty"`
	logs         []catalog.ExpiredLog
	gone         []string
}

// BaseFate is what becomes of a base backup.
type BaseFate struct {
	ID         string    `json:"id"`
	Timeline   uint32    `json:"timeline"`
	Consistent time.Time `json:"consistent"`
	Bytes      int64     `json:"stored_bytes"`
	Goes       bool      `json:"goes"`
	Alone      bool      `json:"alone,omitempty"` // it stays, and the log that follows it goes, or has gone
	Why        string    `json:"why"`
}

// LogFate is what becomes of the log of a timeline.
type LogFate struct {
	Timeline uint32 `json:"timeline"`
	Begins   uint64 `json:"begins"`        // the first segment that stays in the log, when the plan has been carried out
	Segments int    `json:"segments"`      // that go
	Bytes    int64  `json:"stored_bytes"`  // of them
	Stay     int    `json:"segments_stay"` // in the log
	Kept     int    `json:"segments_kept"` // of those before it, for base backups that are kept
}

// planner decides.
type planner struct {
	*state
	ctx    context.Context
	cat    *catalog.Catalog
	policy Policy
	begin  time.Time         // of the window
	need   map[uint32]uint64 // the first number that stays, by timeline; none where there is no entry
	why    map[string]string // why a base backup must stay, by ID
	thin   map[string]bool   // base backups that go although their log stays
}

// plan decides what stays.
func (s *state) plan(ctx context.Context, cat *catalog.Catalog, policy Policy) (*Plan, error) {
	p := &planner{state: s, ctx: ctx, cat: cat, policy: policy, need: make(map[uint32]uint64), why: make(map[string]string), thin: make(map[string]bool)}
	p.begin = p.windowBegins()
	p.window()
	p.least()
	out := &Plan{WindowBegins: p.begin}
	p.most(out)
	if err := p.whole(); err != nil {
		return nil, err
	}
	through, err := p.through()
	if err != nil {
		return nil, err
	}
	return out, p.fates(out, through)
}

// windowBegins is the moment from which on all must stay restorable. Without a window it is that of the
// oldest of the newest base backups that are to stay; where there are no more, nothing expires.
func (p *planner) windowBegins() time.Time {
	if p.policy.Window > 0 {
		return p.now.Add(-p.policy.Window)
	}
	usable := slices.DeleteFunc(slices.Clone(p.bases), func(b *catalog.Base) bool { return !p.usable(b) })
	if len(usable) <= p.policy.MaxBackups {
		return time.Time{}
	}
	return usable[len(usable)-p.policy.MaxBackups].Consistent
}

// window has all stay that the window needs: on every timeline that reaches into it, and on the newest,
// the last base backup at or before its beginning, and the log from there on.
func (p *planner) window() {
	for _, l := range p.lines {
		if l.end.Before(p.begin) && l != p.newest() {
			continue
		}
		serving := p.serving(l)
		if len(serving) == 0 {
			for _, part := range p.past(l) {
				p.stays(part, part.after+1)
			}
			continue
		}
		anchor := serving[0]
		for _, b := range serving {
			if !b.Consistent.IsZero() && !b.Consistent.After(p.begin) {
				anchor = b
			}
		}
		p.why[anchor.ID] = fmt.Sprintf("the window of timeline %d begins with it", l.Number)
		p.follow(l, anchor)
		for _, m := range l.segments { // archived in the window: there may be no base backup before it yet
			if !m.received.Before(p.begin) {
				p.stays(l, m.first)
				break
			}
		}
	}
}

// least has the newest base backups stay, in all and of the newest timeline.
func (p *planner) least() {
	usable := slices.DeleteFunc(slices.Clone(p.bases), func(b *catalog.Base) bool { return !p.usable(b) })
	for _, list := range [][]*catalog.Base{usable, p.serving(p.newest())} {
		for _, b := range list[max(0, len(list)-p.policy.MinBackups):] {
			if p.why[b.ID] == "" {
				p.why[b.ID] = "min_backups"
			}
			on := p.line(b.Timeline)
			if slices.Contains(p.serving(p.newest()), b) {
				on = p.newest()
			}
			p.follow(on, b)
		}
	}
}

// follow has the log of a line stay from a base backup of its past on.
func (p *planner) follow(l *line, b *catalog.Base) {
	for _, part := range p.past(l) {
		if part.Number == b.Timeline {
			p.stays(part, b.Segment)
			return
		}
		p.stays(part, part.after+1)
	}
}

func (p *planner) stays(l *line, from uint64) {
	if have, ok := p.need[l.Number]; !ok || from < have {
		p.need[l.Number] = from
	}
}

// most picks the oldest base backups that may go, as there are too many.
func (p *planner) most(out *Plan) {
	if p.policy.MaxBackups == 0 {
		return
	}
	var may []*catalog.Base
	stay := 0
	for _, b := range p.bases {
		if need, ok := p.need[b.Timeline]; p.kept(b) || !p.usable(b) || !ok || b.Segment < need {
			continue
		}
		if stay++; p.why[b.ID] == "" {
			may = append(may, b)
		}
	}
	for stay > p.policy.MaxBackups && len(may) > 0 {
		p.thin[may[0].ID] = true
		may, stay = may[1:], stay-1
	}
	if stay > p.policy.MaxBackups {
		out.Warnings = append(out.Warnings, fmt.Sprintf("%d base backups stay, more than max_backups: %d, as the window and min_backups need them", stay, p.policy.MaxBackups))
	}
}

// whole refuses an archive in which something is missing of what stays.
func (p *planner) whole() error {
	for _, l := range p.lines {
		for _, h := range l.holes {
			if need, ok := p.need[l.Number]; ok && h.Last >= need {
				return fault.New(fault.Integrity, "expire", p.cat.URL(), fmt.Errorf("segments %d to %d of timeline %d are missing", h.First, h.Last, l.Number)).
					WithHint("Nothing is removed while something is missing in what is to stay: see all of it with `tidemark verify`.")
			}
		}
	}
	return nil
}

// through returns up to which number the log of each timeline expires, at the end of a segment.
func (p *planner) through() (map[uint32]uint64, error) {
	through := make(map[uint32]uint64)
	for _, l := range p.lines {
		last := l.limit
		if need, ok := p.need[l.Number]; ok {
			last = min(last, need-1)
		}
		through[l.Number] = l.align(last)
		for again := true; again; { // a base backup that stays may need more before its own place
			again = false
			for _, b := range p.bases {
				if b.Timeline != l.Number || p.behind(b, through) || p.thin[b.ID] || !p.usable(b) {
					continue
				}
				from, err := p.begins(p.ctx, p.cat, b)
				if err != nil {
					return nil, err
				}
				if from <= through[l.Number] {
					through[l.Number], again = l.align(from-1), true
				}
			}
		}
	}
	return through, nil
}

// behind reports whether the log from a base backup on goes. Where a timeline has nothing that must stay its
// last segment does all the same.
func (p *planner) behind(b *catalog.Base, through map[uint32]uint64) bool {
	_, needed := p.need[b.Timeline]
	return b.Segment <= through[b.Timeline] || !needed && !p.kept(b)
}

// align returns the last number, not beyond the given one, with which a segment ends before which there is
// no other reason to stop.
func (l *line) align(number uint64) uint64 {
	i := l.covering(number)
	if i < len(l.segments) && l.segments[i].last == number {
		return number
	}
	if i == 0 || number <= l.after {
		return l.after
	}
	return max(l.segments[i-1].last, l.after)
}

// fates fills in what becomes of everything.
func (p *planner) fates(out *Plan, through map[uint32]uint64) error {
	kept := make(map[uint32][]catalog.KeptLog)
	for _, b := range p.bases {
		f := BaseFate{ID: b.ID, Timeline: b.Timeline, Consistent: b.Consistent, Bytes: b.StoredBytes(), Why: p.why[b.ID]}
		behind := p.behind(b, through)
		switch k := p.keeps[b.ID]; {
		case p.kept(b):
			f.Why, f.Alone = "it is kept", behind
			if !k.Until.IsZero() {
				f.Why = "it is kept until " + k.Until.UTC().Format(time.RFC3339)
			}
			if !behind {
				break
			}
			run, err := p.run(b)
			if err != nil {
				return err
			}
			if run.First > 0 {
				kept[b.Timeline] = append(kept[b.Timeline], run)
			}
		case p.thin[b.ID]:
			f.Goes, f.Why = true, "there are more than max_backups, and one before it serves what it does"
		case behind:
			f.Goes, f.Why = true, "nothing of the window needs it"
		case f.Why == "":
			f.Why = "the log from it on stays"
		}
		if f.Goes {
			out.gone = append(out.gone, b.ID)
		}
		out.Bases = append(out.Bases, f)
	}
	for _, l := range p.lines {
		p.log(out, l, through[l.Number], merge(kept[l.Number]))
	}
	return nil
}

// run returns the segments that make a base backup consistent whose log goes; none where they have gone.
func (p *planner) run(b *catalog.Base) (catalog.KeptLog, error) {
	l := p.line(b.Timeline)
	if b.Segment <= l.after {
		run, _ := l.Expired.Keeps(b.Segment)
		return run, nil
	}
	from, err := p.begins(p.ctx, p.cat, b)
	if err != nil {
		return catalog.KeptLog{}, err
	}
	first := l.segments[l.covering(from)]
	return catalog.KeptLog{First: first.first, Last: l.segments[l.covering(b.Segment)].last, Before: first.before}, nil
}

// merge joins runs that overlap or follow each other.
func merge(runs []catalog.KeptLog) []catalog.KeptLog {
	slices.SortFunc(runs, func(a, b catalog.KeptLog) int { return int(int64(a.First) - int64(b.First)) })
	var out []catalog.KeptLog
	for _, r := range runs {
		if n := len(out); n > 0 && r.First <= out[n-1].Last+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// log fills in what becomes of the log of a line.
func (p *planner) log(out *Plan, l *line, through uint64, kept []catalog.KeptLog) {
	if n := len(kept); n > 0 && kept[n-1].Last == through && kept[n-1].First > l.after { // what follows it stays as well
		through, kept = kept[n-1].First-1, kept[:n-1]
	}
	e := l.Expired
	e.Timeline = l.Number
	f := LogFate{Timeline: l.Number, Begins: through + 1}
	for _, m := range l.segments {
		if m.last > through {
			if f.Stay == 0 && through > l.after {
				e.Through, e.Chain = through, m.before
			}
			f.Stay++
		}
	}
	e.Kept = kept
	for _, m := range l.segments {
		switch {
		case m.last > through:
		case e.Gone(m.first, m.last):
			f.Segments++
			f.Bytes += m.bytes
		default:
			f.Kept++
		}
	}
	out.Logs = append(out.Logs, f)
	if e.Through > 0 {
		out.logs = append(out.logs, e)
	}
}

// expiry is the record of a plan. left are the base backups of which earlier ones have left something.
func (p *Plan) expiry(left []string) *catalog.Expiry {
	e := &catalog.Expiry{Logs: p.logs, Bases: slices.Concat(left, p.gone)}
	slices.Sort(e.Bases)
	e.Bases = slices.Compact(e.Bases)
	return e
}

// same reports whether a record says no more than the newest one.
func same(a, b *catalog.Expiry) bool {
	return !slices.ContainsFunc(a.Bases, func(id string) bool { return !b.Has(id) }) && slices.EqualFunc(a.Logs, b.Logs, func(k, l catalog.ExpiredLog) bool {
		return k.Timeline == l.Timeline && k.Through == l.Through && k.Chain == l.Chain && slices.Equal(k.Kept, l.Kept)
	})
}
