package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
)

type listOptions struct {
	cluster  string
	segments bool
	now      time.Time
}

func (a *app) newList() *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:   "list [CLUSTER]",
		Short: "Show what can be restored: recovery windows, base backups, timelines, holes",
		Long: `Show what the archive holds and what can be restored from it: for every cluster, or the one that
is named, the recovery windows, the base backups, the timelines, and what is missing.

A recovery window is a stretch of time to every moment of which the cluster can be restored: it
begins with a base backup and ends where the log does, or at a hole in it. Only manifests are read;
whether the data behind them is whole, "tidemark verify" says.` + exits(fault.Warnings, fault.NoArchive, fault.Integrity, fault.Storage, fault.Config),
		Example: `  tidemark list
  tidemark list shop --segments
  tidemark list --archive file:///srv/archive --json | jq '.clusters[].windows'`,
		Args: clusterArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.cluster, o.now = first(args), a.Clock.Now()
			r, err := a.runList(cmd.Context(), o)
			if r == nil {
				return err
			}
			return a.print(r, err)
		},
	}
	cmd.Flags().BoolVar(&o.segments, "segments", false, "show every segment too")
	return cmd
}

type listResult struct {
	Archive  string         `json:"archive"`
	Clusters []*listCluster `json:"clusters"`
}

type listCluster struct {
	Name      string         `json:"name"`
	UUID      string         `json:"uuid"`
	Flavor    string         `json:"flavor"`
	Created   time.Time      `json:"created"`
	Windows   []listWindow   `json:"windows"`
	Bases     []listedBase   `json:"bases"`
	Timelines []listTimeline `json:"timelines"`
	Holes     []listHole     `json:"holes"`
	Barriers  []listBarrier  `json:"barriers,omitempty"`
	Problems  []string       `json:"problems"`
	Lease     *listLease     `json:"lease,omitempty"`
	Segments  []listSegment  `json:"segments,omitempty"`
}

// listLease is who archives the cluster, by its own word and clock.
type listLease struct {
	Host    string    `json:"host"`
	Taken   time.Time `json:"taken"`
	Expires time.Time `json:"expires"`
}

type listWindow struct {
	Timeline uint32    `json:"timeline"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Base     string    `json:"base"`
}

type listBase struct {
	ID              string    `json:"id"`
	Timeline        uint32    `json:"timeline"`
	Consistent      time.Time `json:"consistent"`
	Position        string    `json:"position"`
	Source          string    `json:"source"`
	Engine          string    `json:"engine"`
	ServerVersion   string    `json:"server_version"`
	Bytes           int64     `json:"bytes"`
	StoredBytes     int64     `json:"stored_bytes"`
	Parts           int       `json:"parts"`
	DurationSeconds float64   `json:"duration_seconds"`
}

// listedBase is a base backup with what becomes of it.
type listedBase struct {
	listBase
	Kept      bool       `json:"kept,omitempty"`       // by tidemark keep
	KeepUntil *time.Time `json:"keep_until,omitempty"` // absent: until it is released
	Alone     bool       `json:"alone,omitempty"`      // what follows it has expired: it restores to its own end only
}

// kept says how long it is kept.
func (b listedBase) kept() string {
	switch {
	case !b.Kept:
		return ""
	case b.KeepUntil == nil:
		return "until released"
	}
	return "until " + when(*b.KeepUntil)
}

func (b listBase) took() string { return took(seconds(b.DurationSeconds)) }

type listTimeline struct {
	Number       uint32     `json:"number"`
	Parent       uint32     `json:"parent,omitempty"`
	Reason       string     `json:"reason"`
	Created      time.Time  `json:"created"`
	Segments     int        `json:"segments"`
	Last         uint64     `json:"last_segment"`
	Transactions uint64     `json:"transactions"`
	Bytes        uint64     `json:"bytes"`
	StoredBytes  int64      `json:"stored_bytes"`
	FirstCommit  *time.Time `json:"first_commit,omitempty"`
	LastCommit   *time.Time `json:"last_commit,omitempty"`
	CoveredUntil *time.Time `json:"covered_until,omitempty"`
	Position     string     `json:"position"`

	ForkSegment  uint64   `json:"fork_segment,omitempty"`  // of the parent, in which it begins
	ForkPosition string   `json:"fork_position,omitempty"` // there
	Abandoned    []string `json:"abandoned,omitempty"`     // transactions that only the parent has

	Expired uint64 `json:"expired_through,omitempty"` // the number of the last segment that has expired
}

type listHole struct {
	Timeline uint32 `json:"timeline"`
	First    uint64 `json:"first_segment,omitempty"`
	Last     uint64 `json:"last_segment,omitempty"`
	After    string `json:"after"`  // position before the hole
	Before   string `json:"before"` // position behind it
}

// listBarrier is a place in the log that no restore gets past.
type listBarrier struct {
	Timeline uint32    `json:"timeline"`
	Segment  string    `json:"segment"`
	Time     time.Time `json:"time"`
	Kind     string    `json:"kind"` // incident, import
	Position string    `json:"position"`
	GTID     string    `json:"gtid,omitempty"`
	What     string    `json:"what"`
	Base     string    `json:"base,omitempty"` // the first base backup behind it; absent while there is none
}

type listSegment struct {
	Timeline     uint32     `json:"timeline"`
	First        uint64     `json:"first"`
	Last         uint64     `json:"last"`
	File         string     `json:"file"`
	Start        uint64     `json:"start"`
	End          uint64     `json:"end"`
	Transactions uint64     `json:"transactions"`
	FirstCommit  *time.Time `json:"first_commit,omitempty"`
	LastCommit   *time.Time `json:"last_commit,omitempty"`
	Position     string     `json:"position"`
	StoredBytes  int64      `json:"stored_bytes"`
}

func (a *app) runList(ctx context.Context, o listOptions) (*listResult, error) {
	_, store, cats, err := a.catalogs(ctx, o.cluster)
	if err != nil {
		return nil, err
	}
	r := &listResult{Archive: store.URL()}
	wrong := 0
	for _, cat := range cats {
		c, err := listOne(ctx, cat, o)
		if err != nil {
			return nil, err
		}
		r.Clusters = append(r.Clusters, c)
		wrong += len(c.Holes) + len(c.Problems)
	}
	if wrong > 0 {
		return r, fault.New(fault.Warnings, "list", r.Archive, fmt.Errorf("the archive has %s", counted(wrong, "hole or problem"))).
			WithHint("Run `tidemark verify` to see everything that is missing or damaged.")
	}
	return r, nil
}

func listOne(ctx context.Context, cat *catalog.Catalog, o listOptions) (*listCluster, error) {
	c := &listCluster{Name: cat.Cluster.Name, UUID: cat.Cluster.UUID, Flavor: cat.Cluster.Flavor.String(),
		Created: cat.Cluster.Created, Windows: []listWindow{}, Bases: []listedBase{}, Holes: []listHole{}, Problems: []string{}}
	var each func(*catalog.Segment)
	if o.segments {
		each = func(s *catalog.Segment) {
			c.Segments = append(c.Segments, listSegment{s.Timeline, s.First, s.Last, s.Source.File, s.Source.Start, s.Source.End,
				s.Transactions, known(s.Commit.First), known(s.Commit.Last), s.After.GTID, s.Stored.Size})
		}
	}
	view, err := cat.Overview(ctx, each)
	if err != nil {
		return nil, err
	}
	keeps, err := cat.Keeps(ctx, view.Bases)
	if err != nil {
		return nil, err
	}
	for _, b := range view.Bases {
		l := listedBase{listBase: baseOf(b)}
		if k := keeps[b.ID]; k.Holds(o.now) {
			l.Kept, l.KeepUntil = true, known(k.Until)
		}
		for _, t := range view.Timelines {
			l.Alone = l.Alone || t.Number == b.Timeline && b.Segment <= t.Expired.Through
		}
		c.Bases = append(c.Bases, l)
	}
	for _, t := range view.Timelines {
		c.Timelines = append(c.Timelines, listTimeline{t.Number, t.Parent, t.Reason, t.Created, t.Segments, t.Last, t.Transactions,
			t.BodyBytes, t.StoredBytes, known(t.Commit.First), known(t.Commit.Last), known(t.CoveredUntil), t.End.GTID,
			t.ParentSegment, t.Position.GTID, t.Abandoned, t.Expired.Through})
		for _, w := range t.Windows {
			c.Windows = append(c.Windows, listWindow{t.Number, w.From, w.To, w.Base})
		}
		for _, b := range t.Barriers {
			c.Barriers = append(c.Barriers, barrierOf(b, view.Bases))
		}
		for _, h := range t.Holes {
			c.Holes = append(c.Holes, listHole{t.Number, h.First, h.Last, h.Before.GTID, h.After.GTID})
		}
		for _, g := range t.Gaps {
			c.Holes = append(c.Holes, listHole{Timeline: t.Number, After: g.From.GTID, Before: g.To.GTID})
		}
	}
	for _, p := range view.Problems {
		c.Problems = append(c.Problems, p.Error())
	}
	l, err := cat.Lease(ctx, false)
	if err != nil {
		return nil, err
	}
	if l != nil && !l.Released && !l.Taken.IsZero() {
		c.Lease = &listLease{l.Host, l.Taken, l.Expires}
	}
	return c, nil
}

func barrierOf(b catalog.BarrierIn, bases []*catalog.Base) listBarrier {
	s := b.Segment
	l := listBarrier{s.Timeline, s.Name(), b.Time, b.Kind, fmt.Sprintf("%s:%d", s.Source.File, b.Offset), b.GTID, b.What, ""}
	for _, base := range bases {
		if l.Base == "" && b.HeldBy(base, s) {
			l.Base = base.ID
		}
	}
	return l
}

// known returns nil for no time, so that JSON leaves it out.
func known(t time.Time) *time.Time {
	if t.IsZero() || t.Unix() <= 0 {
		return nil
	}
	return &t
}

func whenKnown(t *time.Time) string {
	if t == nil {
		return ""
	}
	return when(*t)
}

func (r *listResult) text(t *text) {
	t.line("archive %s", r.Archive)
	for _, c := range r.Clusters {
		t.title("cluster %s (%s, archived since %s)", c.Name, c.Flavor, when(c.Created))
		if l := c.Lease; l != nil {
			t.line("  archived by %s since %s; its lease lasts until %s, unless it is renewed", l.Host, when(l.Taken), when(l.Expires))
		}
		c.restorable(t)
		c.contents(t)
	}
}

// restorable shows the windows, the base backups and the holes.
func (c *listCluster) restorable(t *text) {
	if len(c.Windows) == 0 {
		t.line("  nothing can be restored yet: there is no base backup with the log that follows it")
	}
	var rows [][]string
	for _, w := range c.Windows {
		rows = append(rows, []string{fmt.Sprint(w.Timeline), when(w.From), when(w.To), took(w.To.Sub(w.From))})
	}
	if len(rows) > 0 {
		t.title("recovery windows")
		t.table([]string{">timeline", "from", "to", ">length"}, rows)
	}
	rows = nil
	for _, b := range c.Bases {
		rows = append(rows, []string{b.ID, fmt.Sprint(b.Timeline), when(b.Consistent), size(b.Bytes), size(b.StoredBytes),
			b.took(), b.kept(), b.Position})
	}
	if len(rows) > 0 {
		t.title("base backups")
		t.table([]string{"id", ">timeline", "consistent at", ">size", ">stored", ">took", "kept", "position"}, rows)
	}
	for _, b := range c.Bases {
		if b.Alone {
			t.line("  base backup %s stays by itself: what follows it has expired, and it is restored to its own end, with --to-position %s", b.ID, b.Source)
		}
	}
	rows = nil
	for _, h := range c.Holes {
		rows = append(rows, []string{fmt.Sprint(h.Timeline), h.segments(), h.After, h.Before})
	}
	if len(rows) > 0 {
		t.title("holes")
		t.table([]string{">timeline", "segments", "after", "before"}, rows)
	}
	rows = nil
	for _, b := range c.Barriers {
		behind := b.Base
		if behind == "" {
			behind = "none yet"
		}
		rows = append(rows, []string{fmt.Sprint(b.Timeline), when(b.Time), b.Position, b.GTID, behind, b.What})
	}
	if len(rows) > 0 {
		t.title("barriers, which no restore gets past")
		t.table([]string{">timeline", "at", "position", "gtid", "next base backup", "what"}, rows)
	}
	for i, p := range c.Problems {
		if i == 0 {
			t.title("problems")
		}
		t.line("  %s", p)
	}
}

func (h listHole) segments() string {
	switch {
	case h.First == 0:
		return "purged"
	case h.First == h.Last:
		return fmt.Sprint(h.First)
	}
	return fmt.Sprintf("%d-%d", h.First, h.Last)
}

// fewAbandoned is how many transactions of a dead branch are named to people.
const fewAbandoned = 5

func more(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more", n)
}

// contents shows the timelines and, if they were asked for, the segments.
func (c *listCluster) contents(t *text) {
	var rows [][]string
	for _, l := range c.Timelines {
		rows = append(rows, []string{fmt.Sprint(l.Number), l.Reason, count(l.Segments), count(l.Transactions), size(l.Bytes),
			size(l.StoredBytes), whenKnown(l.LastCommit), whenKnown(l.CoveredUntil), l.Position})
	}
	t.title("timelines")
	t.table([]string{">timeline", "began by", ">segments", ">transactions", ">size", ">stored", "last commit", "covered until", "position"}, rows)
	for _, l := range c.Timelines {
		if l.Expired > 0 {
			t.line("  the log of timeline %d begins with segment %d: what was before it has expired", l.Number, l.Expired+1)
		}
		if n := len(l.Abandoned); n > 0 {
			t.line("  timeline %d leaves timeline %d at %s (segment %d); on timeline %d only: %s%s", l.Number, l.Parent, l.ForkPosition, l.ForkSegment,
				l.Parent, strings.Join(l.Abandoned[:min(n, fewAbandoned)], ", "), more(n-fewAbandoned))
		}
	}
	rows = nil
	for _, s := range c.Segments {
		name := fmt.Sprint(s.First)
		if s.Last != s.First {
			name = fmt.Sprintf("%d-%d", s.First, s.Last)
		}
		rows = append(rows, []string{fmt.Sprint(s.Timeline), name, s.File, fmt.Sprintf("%d-%d", s.Start, s.End), count(s.Transactions),
			whenKnown(s.FirstCommit), whenKnown(s.LastCommit), size(s.StoredBytes)})
	}
	if len(rows) > 0 {
		t.title("segments")
		t.table([]string{">timeline", ">segment", "source file", "bytes", ">transactions", "first commit", "last commit", ">stored"}, rows)
	}
}
