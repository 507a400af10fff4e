package restore

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// Servers of MySQL, by one letter each in the positions below: "a:1-5,b:t:1".
var servers = strings.NewReplacer("a:", "aaaaaaaa-0000-0000-0000-00000000000a:", "b:", "bbbbbbbb-0000-0000-0000-00000000000b:",
	"u:", "cccccccc-0000-0000-0000-00000000000c:")

func mysqlState(t *testing.T, text string) *gtid.State {
	t.Helper()
	s, err := parsePosition(gtid.MySQL, servers.Replace(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mysqlPosition(t *testing.T, text string) catalog.Position {
	t.Helper()
	return catalog.PositionOf(mysqlState(t, text))
}

// mysqlLog is a history of segments, each of them a file, of which the positions behind are given: "a:1-5". One that
// begins with "|" begins another stretch.
func mysqlLog(t *testing.T, afters ...string) *history {
	t.Helper()
	h := &history{c: &catalog.Catalog{Cluster: catalog.Cluster{Flavor: gtid.MySQL}}, timeline: &catalog.Timeline{Number: 1}, preferred: -1}
	before, timeline := catalog.Position{}, uint32(1)
	for i, after := range afters {
		if strings.HasPrefix(after, "|") {
			h.stretches[len(h.stretches)-1].hole = errors.New("a hole")
			before, timeline = catalog.Position{}, timeline+1
		}
		if i == 0 || strings.HasPrefix(after, "|") {
			h.stretches = append(h.stretches, stretch{first: i})
		}
		s := &catalog.Segment{Timeline: timeline, First: uint64(i + 1), Last: uint64(i + 1), Transactions: 5,
			Before: before, After: mysqlPosition(t, strings.Trim(after, "|")),
			Source: catalog.Source{File: fmt.Sprintf("binlog.%06d", i+1), Start: 4, End: 1000}}
		h.segments, before = append(h.segments, s), s.After
		h.stretches[len(h.stretches)-1].end = i + 1
	}
	if err := h.keepGrowing(0); err != nil {
		t.Fatal(err)
	}
	return h
}

// add adds a base backup that lies at the end of a segment, by its index.
func (h *history) add(t *testing.T, i int, least, most string) {
	t.Helper()
	s := h.segments[i]
	h.bases = append(h.bases, &catalog.Base{ID: fmt.Sprintf("b%d", len(h.bases)+1), Engine: engineClone, Flavor: gtid.MySQL,
		Timeline: s.Timeline, Segment: s.First, Source: s.Source.EndPoint(), Consistent: time.Unix(int64(i), 0),
		PositionMin: mysqlPosition(t, least), PositionMax: mysqlPosition(t, most)})
}

func TestChooseUnlogged(t *testing.T) {
	for _, c := range []struct {
		name  string
		log   []string
		bases []string // index of the segment, least, most
		stop  int      // index of the segment at whose end the restore stops
		want  string   // the base backup; "": none
		first int      // index of the segment from which on the log is applied
	}{
		{"filled before it was archived", []string{"a:1-5", "a:1-10"}, []string{"0 u:1-9,a:1-5 u:1-9,a:1-5"}, 1, "b1", 0},
		{"filled, and the stop is the base backup", []string{"a:1-5", "a:1-10"}, []string{"1 u:1-9,a:1-10 u:1-9,a:1-10"}, 1, "b1", 1},
		{"filled, and the stop is before it", []string{"a:1-5", "a:1-10"}, []string{"1 u:1-9,a:1-6 u:1-9,a:1-10"}, 0, "", 0},
		{"told later", []string{"a:1-5", "a:1-10", "a:1-15"}, []string{"0 a:1-5 a:1-5", "1 a:1-10 a:1-10,u:1-9"}, 2, "b2", 1},
		{"told later, behind the stop", []string{"a:1-5", "a:1-10", "a:1-15"}, []string{"0 a:1-5 a:1-5", "2 a:1-15,u:1-9 a:1-15,u:1-9"}, 1, "b1", 0},
		{"tags", []string{"a:1-5:t:1", "a:1-5:t:1-3"}, []string{"0 u:x:1-9,a:1-5:t:1 u:x:1-9,a:1-5:t:1"}, 1, "b1", 0},
		{"a replica", []string{"a:1-5", "a:1-5,b:1-3"}, []string{"0 u:1-9,a:1-5 u:1-9,a:1-5"}, 1, "b1", 0},
		{"before a hole, with the same numbers behind it", []string{"a:1-5", "|a:1-10"}, []string{"0 a:1-5 a:1-5"}, 1, "", 0},
		{"behind a hole", []string{"a:1-5", "|a:1-10", "a:1-15"}, []string{"0 a:1-5 a:1-5", "1 u:1-9,a:1-10 u:1-9,a:1-10"}, 2, "b2", 1},
		{"another server that lists less", []string{"a:1-5", "a:1-10", "a:6-10,b:1-3", "a:6-10,b:1-9"}, []string{"0 a:1-5 a:1-5"}, 3, "b1", 0},
		{"the next base backup on that", []string{"a:1-5", "a:1-10", "a:6-10,b:1-3", "a:6-10,b:1-9"}, []string{"0 a:1-5 a:1-5", "2 a:1-10,b:1-3 a:1-10,b:1-3"}, 3, "b2", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := mysqlLog(t, c.log...)
			for _, b := range c.bases {
				var i int
				var least, most string
				if _, err := fmt.Sscan(b, &i, &least, &most); err != nil {
					t.Fatal(err)
				}
				h.add(t, i, least, most)
			}
			at, err := h.position(h.segments[c.stop].After)
			if err != nil {
				t.Fatal(err)
			}
			got, err := h.chooseMySQL(ToLatest(), c.stop, &surroundings{position: at})
			switch {
			case c.want == "" && !fault.Is(err, fault.Unreachable):
				t.Errorf("%+v, %v", got, err)
			case c.want == "":
			case err != nil:
				t.Fatal(err)
			case got.base.ID != c.want || got.i != c.first:
				t.Errorf("%s from segment %d on, not %s from %d on", got.base.ID, got.i, c.want, c.first)
			}
		})
	}
}

// TestKeepGrowing: positions of archives that took what a server lists for all there was are read as they should have been,
// also those of segments that are archived later.
func TestKeepGrowing(t *testing.T) {
	h := mysqlLog(t, "a:1-5", "a:1-10", "a:6-10,b:1-3", "a:6-10,b:1-9", "|a:6-10,b:1-9")
	check := func(want ...string) {
		t.Helper()
		for i, text := range want {
			if got := h.segments[i].After.GTID; got != servers.Replace(text) {
				t.Errorf("behind segment %d: %s, not %s", i, got, text)
			}
			if r := h.stretchOf(i); i > r.first && !h.segments[i].Before.Equal(h.segments[i-1].After) {
				t.Errorf("segment %d begins at %s", i, h.segments[i].Before.GTID)
			}
		}
	}
	check("a:1-5", "a:1-10", "a:1-10,b:1-3", "a:1-10,b:1-9", "a:6-10,b:1-9")
	h = mysqlLog(t, "a:1-10", "a:6-10,b:1-3")
	s := *h.segments[1] // which goes on in the same file
	s.First, s.Last, s.Source.Start, s.Source.End = 3, 3, 1000, 2000
	s.Before, s.After = h.segments[1].After, mysqlPosition(t, "a:6-10,b:1-5")
	h.segments = append(h.segments, &s)
	h.stretches[0].end = 3
	if err := h.keepGrowing(2); err != nil {
		t.Fatal(err)
	}
	check("a:1-10", "a:1-10,b:1-3", "a:1-10,b:1-5")
}

func TestLogged(t *testing.T) {
	h := mysqlLog(t, "a:1-5", "a:1-10", "a:1-15")
	h.add(t, 0, "u:1-9,a:1-5", "u:1-9,a:1-5")
	h.add(t, 2, "u:1-12,a:1-15", "u:1-12,a:1-15")
	for set, want := range map[string]string{
		"a:1-7":        "a:1-7",
		"a:1-7,u:1-9":  "a:1-7",
		"a:1-7,u:1-12": "a:1-7",
		"a:1-7,u:1-8":  "a:1-7,u:1-8", // no server was ever there
		"a:1-7,u:1-10": "a:1-7,u:10",
		"u:1-9":        "",
	} {
		got, err := h.logged(mysqlState(t, set).Set())
		if err != nil || got.String() != servers.Replace(want) {
			t.Errorf("of %s the log can hold %s, not %s, %v", set, got, want, err)
		}
	}
}

// TestSettleStart: what a clone holds lies between its bounds, of what is in no log too.
func TestSettleStart(t *testing.T) {
	for _, c := range []struct{ holds, want string }{
		{"a:1-5,u:1-3", "a:1-9,u:1-3"},
		{"a:1-7,u:1-3", "a:1-9,u:1-3"},
		{"a:1-7,u:1-9", "a:1-9,u:1-9"},
		{"a:1-4,u:1-3", ""},
		{"a:1-5", ""},
		{"a:1-10,u:1-3", ""},
		{"a:1-5,u:1-3,b:1", ""},
	} {
		p := &Plan{base: &catalog.Base{ID: "b1"}, start: mysqlState(t, "a:1-5,u:1-3"), unlogged: mysqlState(t, "u:1-9"), position: mysqlState(t, "a:1-9,u:1-3")}
		err := p.settleStart(mysqlState(t, c.holds))
		if (err != nil) != (c.want == "") || err == nil && p.Position() != servers.Replace(c.want) {
			t.Errorf("a clone that holds %s: at the stop %s, not %s, %v", c.holds, p.Position(), c.want, err)
		}
	}
}

func TestWarnUnlogged(t *testing.T) {
	h := mysqlLog(t, "a:1-5", "a:1-10", "|a:1-15")
	h.add(t, 0, "u:1-9,a:1-5", "u:1-9,a:1-5")
	h.add(t, 1, "u:1-12,a:1-10", "u:1-12,a:1-10")
	h.add(t, 2, "b:1,a:1-15", "b:1,a:1-15")
	p := new(Plan)
	if err := p.warnUnlogged(h, &chosen{base: h.bases[0], i: 0, unlogged: mysqlState(t, "u:1-9")}); err != nil {
		t.Fatal(err)
	}
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "base backup b2, which is later than b1, holds "+servers.Replace("u:10-12")) {
		t.Errorf("%q", p.Warnings)
	}
	p = new(Plan)
	if err := p.warnUnlogged(h, &chosen{base: h.bases[1], i: 1, unlogged: mysqlState(t, "u:1-12")}); err != nil || len(p.Warnings) > 0 {
		t.Errorf("%q, %v", p.Warnings, err)
	}
}

// TestFeedHolds: MySQL passes over what it has; MariaDB has nothing of what it is fed.
func TestFeedHolds(t *testing.T) {
	f := &feed{pos: mysqlState(t, "a:1-5"), pending: gtid.GTID{Seq: 5}}
	f.pending.UUID, _ = gtid.ParseUUID("aaaaaaaa-0000-0000-0000-00000000000a")
	if !f.holds() {
		t.Error("a:5 is not known to be there")
	}
	if f.pending.Seq = 6; f.holds() {
		t.Error("a:6 is known to be there")
	}
	f = &feed{pos: gtid.NewState([]gtid.GTID{{Server: 1, Seq: 5}}), pending: gtid.GTID{Server: 1, Seq: 5}}
	if f.holds() {
		t.Error("0-1-5 is passed over")
	}
}
