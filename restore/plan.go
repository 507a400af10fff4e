package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// PlanOptions say what is to be restored.
type PlanOptions struct {
	Target   Target
	Timeline uint32         // 0: the newest
	Exclude  []string       // GTIDs of transactions that are left out
	Damaged  []*DamagedBase // base backups that are not used
	Base     string         // base backup to begin from if it serves the target, as InterruptedBase tells it; else, or if "", the newest that does
	Follow   *Follow        // the restore goes on with what is archived later; nil: it ends
}

// Plan says what a restore will do: which base backup, which part of the log, where it stops. It is
// made by MakePlan and used by Run; as JSON it is a result for people and scripts.
type Plan struct {
	Cluster  string `json:"cluster"`
	Timeline uint32 `json:"timeline"`
	Target   string `json:"target"`

	Base PlanBase `json:"base"`
	Stop Point    `json:"stop"`
	// What is on both sides of the stop. LastApplied is absent when nothing follows the base backup,
	// FirstNotApplied at the end of the log.
	LastApplied     *Transaction `json:"last_applied,omitempty"`
	FirstNotApplied *Transaction `json:"first_not_applied,omitempty"`

	Segments      int    `json:"segments"`       // to be read
	Transactions  uint64 `json:"transactions"`   // to be applied
	LogBytes      int64  `json:"log_bytes"`      // of them, plain
	DownloadBytes int64  `json:"download_bytes"` // base backup and segments, as stored
	DiskBytes     int64  `json:"disk_bytes"`     // of the base backup, plain; the relay space comes on top

	Plugins       []string  `json:"plugins,omitempty"` // of the backed up server, with their libraries, that may matter to the log
	ServerVersion string    `json:"server_version"`    // of the base backup; a server of its series is needed
	TimePrecision string    `json:"time_precision"`    // of commit times
	CoveredUntil  time.Time `json:"covered_until"`     // the archive holds everything up to here

	// Suspects are transactions whose commit time is not believed, or not certain, where the target's hangs on it.
	Suspects     []Suspect      `json:"suspects,omitempty"`
	SuspectCount int            `json:"suspect_count"`
	Excluded     []*Transaction `json:"excluded,omitempty"` // are left out
	Notes        []string       `json:"notes,omitempty"`    // what is good to know, and asks for nothing
	Warnings     []string       `json:"warnings,omitempty"`

	excluded  map[gtid.GTID]bool
	base      *catalog.Base
	segments  []*catalog.Segment // from the one with the base's position to the one with the stop
	from      uint64             // offset in the first one's source file at which the log is applied from
	position  *gtid.State        // at the stop
	start     *gtid.State        // at the base; MySQL: what it holds at least
	unlogged  *gtid.State        // of the base, and in no log; MySQL: all that it may hold
	serverIDs []uint32           // that occur in the log, ascending
	following *following         // nil if the restore ends at the stop
}

// PlanBase is the base backup of a plan.
type PlanBase struct {
	ID          string    `json:"id"`
	Consistent  time.Time `json:"consistent"`
	Position    Point     `json:"position"`
	Parts       int       `json:"parts"`
	StoredBytes int64     `json:"stored_bytes"`
	PlainBytes  int64     `json:"plain_bytes"`
	Kept        bool      `json:"kept,omitempty"` // the log that follows it has expired: it is restored to its own end only
}

// Point is a place in the log: all that ends at or before Offset in the source's File.
type Point struct {
	Timeline uint32 `json:"timeline"`
	Segment  uint64 `json:"segment"`
	File     string `json:"file"`
	Offset   uint64 `json:"offset"`
	GTID     string `json:"gtid"` // the slave position there
}

// Suspect is a transaction whose commit time is not believed, and why.
type Suspect struct {
	Transaction
	Why string `json:"why"`
}

// excludedGTIDs are the transactions that are left out, in order.
func (p *Plan) excludedGTIDs() []string {
	var list []string
	for g := range p.excluded {
		list = append(list, g.String())
	}
	slices.Sort(list)
	return list
}

// beginning is where the log is applied from.
func (p *Plan) beginning() checkpoint {
	if len(p.segments) == 0 {
		return checkpoint{}
	}
	first := at(p.segments[0], p.from)
	return checkpoint{Timeline: first.timeline, Segment: first.number, Offset: first.offset, GTID: p.start.String()}
}

// end is the place of the stop.
func (p *Plan) end() place { return place{p.Stop.Timeline, p.Stop.Segment, p.Stop.Offset} }

// after returns the segments from the one of a checkpoint on.
func (p *Plan) after(c checkpoint) ([]*catalog.Segment, error) {
	i := slices.IndexFunc(p.segments, func(s *catalog.Segment) bool {
		return s.Timeline == c.Timeline && s.First <= c.Segment && c.Segment <= s.Last
	})
	if i < 0 {
		return nil, fault.New(fault.Integrity, "find segment", fmt.Sprint(c.Segment), errors.New("it is not in the part of the log that is to be applied"))
	}
	return p.segments[i:], nil
}

// HasWarnings reports whether the plan holds something that needs a look.
func (p *Plan) HasWarnings() bool { return len(p.Warnings) > 0 }

// Position is the GTID position at the stop.
func (p *Plan) Position() string { return p.position.String() }

// MakePlan finds out how to reach a target. It changes nothing, reads manifests and the few segments
// around the target, and checks that everything a restore needs is stored. Kinds of errors:
// Unreachable for a target that the archive does not cover, Integrity for what is missing or damaged,
// WrongKey for what is encrypted for others.
func MakePlan(ctx context.Context, c *catalog.Catalog, o PlanOptions) (*Plan, error) {
	if err := o.Target.checkFlavor(c.Cluster.Flavor); err != nil {
		return nil, err
	}
	h, err := readHistory(ctx, c, o.Timeline)
	if err != nil {
		return nil, err
	}
	var f *following
	if o.Follow != nil {
		if f, err = o.follow(h); err != nil {
			return nil, err
		}
	}
	stop, err := f.seek(ctx, h, o.Target)
	if err != nil {
		return nil, err
	}
	p := h.newPlan(o)
	p.following, p.Warnings = f, h.warnings
	if err := h.leaveOut(ctx, p, o.Exclude, stop.spot); err != nil {
		return nil, err
	}
	h.leftOut = p.excluded
	h.passOver(p, o.Damaged)
	h.prefer(o.Base)
	if err := p.fill(ctx, h, o.Target, stop.spot); err != nil {
		return nil, err
	}
	if f == nil || f.last { // else it goes on soon, and what is uncertain about a passing moment is of no interest
		p.name(stop, o.Target)
	}
	p.warnOfServer()
	p.warnOfSeries()
	p.warnOfEmpty()
	if h.broken != nil {
		p.Warnings = append(p.Warnings, fmt.Sprintf("the log is damaged behind the target: %v", h.broken))
	}
	err = h.checkStored(ctx, p)
	if d := p.baseDamage(err); d != nil { // what is missing of it, another one has
		if older, ferr := MakePlan(ctx, c, o.without(d)); ferr == nil {
			return older, nil
		}
	}
	return p, err
}

func (h *history) newPlan(o PlanOptions) *Plan {
	f := h.c.Cluster.Flavor
	return &Plan{Cluster: h.c.Cluster.Name, Timeline: h.timeline.Number, Target: o.Target.String(), TimePrecision: precision(f).String(), CoveredUntil: h.coveredUntil()}
}

// fill chooses the base backup and says what lies around the stop and between them.
func (p *Plan) fill(ctx context.Context, h *history, t Target, stop spot) error {
	s := h.segments[stop.i]
	end, err := h.around(ctx, s, stop.offset)
	if err != nil {
		return err
	}
	if end.boundary == s.Source.Start && stop.i > h.stretchOf(stop.i).first { // nothing of the segment is needed
		stop.i--
		s = h.segments[stop.i]
		end = &surroundings{boundary: s.Source.End, position: end.position, before: s.Transactions, next: end.next}
	}
	from, err := h.chooseBase(ctx, t, stop.i, end)
	if err != nil {
		return err
	}
	h.chosen = from
	b := from.base
	if err := h.nameDeleted(from, end.position); err != nil {
		return err
	}
	p.base, p.start, p.unlogged, p.from, p.segments = b, from.position, from.unlogged, from.offset, h.segments[from.i:max(from.i, stop.i)+1]
	p.ServerVersion = b.ServerVersion
	for _, pl := range p.neededPlugins() {
		p.Plugins = append(p.Plugins, pl.String())
	}
	p.Base = PlanBase{ID: b.ID, Consistent: b.Consistent, Parts: len(b.Parts), StoredBytes: b.StoredBytes(), PlainBytes: b.PlainBytes, Kept: h.kept(from.i),
		Position: Point{Timeline: b.Timeline, Segment: b.Segment, File: b.Source.File, Offset: b.Source.Offset, GTID: b.PositionMax.GTID}}

	// Domains that only the backed up server knew, as a replica of another one, stay as they were. Others are as the
	// log has them at the stop, where one may have been deleted.
	p.position = p.start.Clone()
	if b.Flavor == gtid.MariaDB {
		p.position = p.unlogged.Clone()
	}
	p.position.Advance(end.position)
	place := at(s, end.boundary)
	p.Stop = Point{Timeline: place.timeline, Segment: place.number, File: s.Source.File, Offset: end.boundary, GTID: p.position.String()}
	if c := h.c.Cluster.Flavor; c == gtid.MariaDB && place.compare(basePlace(b)) < 0 { // nothing that changes anything lies between them
		p.Stop = p.Base.Position
		p.Stop.GTID = p.position.String()
	}
	p.count(h, from, stop.i, end)
	if err := p.warnUnlogged(h, from); err != nil {
		return err
	}
	if p.Transactions > 0 {
		if p.LastApplied, err = h.lastBefore(ctx, stop.i, end); err != nil {
			return err
		}
	}
	p.FirstNotApplied, err = h.firstAfter(ctx, stop.i, end)
	return err
}

// count adds up what is to be read and applied.
func (p *Plan) count(h *history, from *chosen, i int, end *surroundings) {
	p.Segments = len(p.segments)
	if i >= from.i {
		p.Transactions = h.transactionsOf(from.i, i) + end.before - from.before
	}
	p.DownloadBytes, p.DiskBytes = p.base.StoredBytes(), p.base.PlainBytes
	for k, s := range p.segments {
		p.DownloadBytes += s.Stored.Size
		p.serverIDs = append(p.serverIDs, s.ServerIDs...)
		first, last := s.Source.Start, s.Source.End
		if k == 0 {
			first = p.from
		}
		if k == len(p.segments)-1 {
			last = p.Stop.Offset
		}
		p.LogBytes += int64(last - first)
	}
	slices.Sort(p.serverIDs)
	p.serverIDs = slices.Compact(p.serverIDs)
}

// lastBefore finds the last transaction before a place in the segment with the index. There is one.
func (h *history) lastBefore(ctx context.Context, i int, end *surroundings) (*Transaction, error) {
	if end.last != nil {
		return end.last, nil
	}
	if end.before == 0 {
		i--
	}
	for h.segments[i].Transactions == 0 {
		i--
	}
	a, err := h.around(ctx, h.segments[i], h.segments[i].Source.End)
	if err != nil {
		return nil, err
	}
	return a.last, nil
}

// firstAfter finds the first transaction that is not applied; nil if the log ends before one.
func (h *history) firstAfter(ctx context.Context, i int, end *surroundings) (*Transaction, error) {
	if end.next != nil {
		return end.next, nil
	}
	r := h.stretchOf(i)
	for _, s := range h.segments[i+1 : r.end] {
		if s.Transactions > 0 {
			a, err := h.around(ctx, s, s.Source.Start)
			if err != nil {
				return nil, err
			}
			return a.next, nil
		}
	}
	return nil, nil
}

// checkStored checks that every object of the plan can be opened, and is there with its size, by one
// listing.
func (h *history) checkStored(ctx context.Context, p *Plan) error {
	for _, s := range p.segments {
		if err := h.c.CanOpen(s.Stored); err != nil {
			return err
		}
	}
	for _, part := range p.base.Parts {
		if err := h.c.CanOpen(part.Stored); err != nil {
			return err
		}
	}
	missing := make(map[string]*catalog.Stored, len(p.segments)+len(p.base.Parts))
	for _, s := range p.segments {
		missing[s.Stored.Key] = &s.Stored
	}
	for i := range p.base.Parts {
		missing[p.base.Parts[i].Stored.Key] = &p.base.Parts[i].Stored
	}
	prefixes := []string{"base/" + p.base.ID + "/"}
	for _, s := range p.segments {
		if prefix := fmt.Sprintf("log/%08d/0", s.Timeline); prefixes[len(prefixes)-1] != prefix {
			prefixes = append(prefixes, prefix)
		}
	}
	for _, prefix := range prefixes {
		for o, err := range h.c.Objects(ctx, prefix) {
			if err != nil {
				return err
			}
			s, ok := missing[o.Key]
			if ok && s.Size != o.Size {
				return fault.New(fault.Integrity, "check", o.Key, fmt.Errorf("the object has %d bytes, its manifest says %d", o.Size, s.Size)).
					WithHint("Run `tidemark verify --data` to see everything that is damaged.")
			}
			delete(missing, o.Key)
		}
	}
	keys := make([]string, 0, len(missing))
	for key := range missing {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		// The listing may be older than the manifest.
		if err := h.c.CheckStored(ctx, *missing[key]); err != nil {
			return err
		}
	}
	return nil
}
