package gtid

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want GTID
		ok   bool
	}{
		{"0-1-34103", GTID{Domain: 0, Server: 1, Seq: 34103}, true},
		{" 4294967295-4294967295-18446744073709551615 ", GTID{Domain: 1<<32 - 1, Server: 1<<32 - 1, Seq: 1<<64 - 1}, true},
		{"", GTID{}, false},
		{"0-1", GTID{}, false},
		{"0-1-2-3", GTID{}, false},
		{"0-1-", GTID{}, false},
		{"-1-1-1", GTID{}, false},
		{"+0-1-1", GTID{}, false},
		{"0-1-1e3", GTID{}, false},
		{"4294967296-1-1", GTID{}, false},
		{"0-4294967296-1", GTID{}, false},
		{"0-1-18446744073709551616", GTID{}, false},
		{"0- 1-1", GTID{}, false},
		{"3E11FA47-71CA-11E1-9E33-C80AA9429562:23", GTID{UUID: UUID{0x3e, 0x11, 0xfa, 0x47, 0x71, 0xca, 0x11, 0xe1, 0x9e, 0x33, 0xc8, 0x0a, 0xa9, 0x42, 0x95, 0x62}, Seq: 23}, true},
		{"3E11FA47-71CA-11E1-9E33-C80AA9429562:23-24", GTID{}, false},
		{"3E11FA47-71CA-11E1-9E33-C80AA9429562:", GTID{}, false},
	} {
		got, err := Parse(tt.in)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("Parse(%q) = %v, %v", tt.in, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), fmt.Sprintf("%q", tt.in)) {
			t.Errorf("Parse(%q): the error %q does not name it", tt.in, err)
		}
	}
}

func TestParseList(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{" , ,", ""},
		{"1-2-3", "1-2-3"},
		{"1-2-3, 0-1-5 ,1-1-9", "1-2-3,0-1-5,1-1-9"},
		{"1-2-3;0-1-5", "error"},
		{"1-2-3,x", "error"},
	} {
		list, err := ParseList(tt.in)
		got := FormatList(list)
		if err != nil {
			got = "error"
		}
		if got != tt.want {
			t.Errorf("ParseList(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestPosition(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"4294967295-1-2,0-1-5,2-7-1", "0-1-5,2-7-1,4294967295-1-2"},
		{"0-1-5,0-2-6", "error"}, // one domain twice
		{"0-1-5,0-1-5", "error"},
	} {
		p, err := ParsePosition(tt.in)
		got := p.String()
		if err != nil {
			got = "error"
		}
		if got != tt.want {
			t.Errorf("ParsePosition(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}

	position := func(s string) Position {
		p, err := ParsePosition(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, tt := range []struct {
		a, b Position
		want bool
	}{
		{nil, Position{}, true},
		{nil, position("0-1-1"), false},
		{position("0-1-1"), position("0-1-1"), true},
		{position("0-1-1"), position("0-2-1"), false},
		{position("0-1-1"), position("1-1-1"), false},
		{position("0-1-1,1-1-1"), position("0-1-1"), false},
		{position("0-1-1,1-1-1"), position("1-1-1,0-1-1"), true},
	} {
		if tt.a.Equal(tt.b) != tt.want || tt.b.Equal(tt.a) != tt.want {
			t.Errorf("%q equal %q is not %v", tt.a, tt.b, tt.want)
		}
	}

	p := position("0-1-1")
	c := p.Clone()
	c[0] = GTID{Domain: 0, Server: 1, Seq: 2}
	if p.String() != "0-1-1" {
		t.Error("a clone shares memory")
	}
}

// TestStateOrder: the list is in the order of a GTID_LIST event, domains ascending, and in a domain
// the server that wrote last comes last, whatever its number.
func TestStateOrder(t *testing.T) {
	for _, tt := range []struct{ add, list, position string }{
		{"", "", ""},
		{"0-2-1,0-1-2", "0-2-1,0-1-2", "0-1-2"},
		{"0-1-2,0-2-1", "0-1-2,0-2-1", "0-2-1"},
		{"0-3-1,0-1-1,0-2-1,0-3-2,0-1-2", "0-2-1,0-3-2,0-1-2", "0-1-2"},
		{"5-1-9,0-1-1,5-2-3", "0-1-1,5-1-9,5-2-3", "0-1-1,5-2-3"},
		{"0-1-9,0-1-4", "0-1-4", "0-1-4"}, // numbers may fall
		{"0-4294967295-1,0-1-1", "0-4294967295-1,0-1-1", "0-1-1"},
		{"4294967295-1-1,0-1-1", "0-1-1,4294967295-1-1", "0-1-1,4294967295-1-1"},
	} {
		list, err := ParseList(tt.add)
		if err != nil {
			t.Fatal(err)
		}
		s := NewState(nil)
		for _, g := range list {
			s.Add(g)
		}
		if got := FormatList(s.List()); got != tt.list {
			t.Errorf("after %s the list is %s, want %s", tt.add, got, tt.list)
		}
		if got := s.Position().String(); got != tt.position {
			t.Errorf("after %s the position is %s, want %s", tt.add, got, tt.position)
		}
		if again := NewState(s.List()); !again.Equal(s) || !again.Position().Equal(s.Position()) {
			t.Errorf("after %s the state is not that of its list", tt.add)
		}
		for d, g := range s.Position() {
			if s.Tip(d) != g {
				t.Errorf("the tip of domain %d is %s", d, s.Tip(d))
			}
		}
	}
	if tip := NewState(nil).Tip(3); !tip.IsZero() || tip.String() != "" {
		t.Errorf("the tip of an empty state is %q", tip)
	}
}

// TestStateRandom: Add and Revert are inverse, and neither touches a clone.
func TestStateRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		s := NewState(nil)
		var before []string
		var undo []Undo
		var model []GTID // the history
		for range 1 + rng.IntN(40) {
			if len(undo) > 0 && rng.IntN(4) == 0 {
				s.Revert(undo[len(undo)-1])
				undo = undo[:len(undo)-1]
				model = model[:len(model)-1]
				if got, want := FormatList(s.List()), before[len(before)-1]; got != want {
					t.Fatalf("seed %d: %s after taking back, want %s", seed, got, want)
				}
				before = before[:len(before)-1]
				continue
			}
			before = append(before, FormatList(s.List()))
			g := GTID{Domain: uint32(rng.IntN(3)), Server: uint32(1 + rng.IntN(3)), Seq: uint64(rng.IntN(5)) + 1}
			clone := s.Clone()
			undo = append(undo, s.Add(g))
			model = append(model, g)
			if clone.Equal(s) && FormatList(clone.List()) != FormatList(s.List()) || FormatList(clone.List()) != before[len(before)-1] {
				t.Fatalf("seed %d: a clone shares memory", seed)
			}
			if got, want := FormatList(s.List()), reference(model); got != want {
				t.Fatalf("seed %d: %s after %s, want %s", seed, got, FormatList(model), want)
			}
		}
		r := NewState([]GTID{{Domain: 9, Server: 9, Seq: 9}})
		r.Follow(NewState(s.List()))
		if !r.Equal(s) {
			t.Fatalf("seed %d: follow to %s gives %s", seed, FormatList(s.List()), FormatList(r.List()))
		}
	}
}

// TestFollow: the head of the next file says what the log holds, but for a domain that a crashed server has lost count of.
func TestFollow(t *testing.T) {
	for _, c := range []struct{ was, listed, want string }{
		{"0-7-10,1-7-20", "0-7-10,1-7-20", "0-7-10,1-7-20"},
		{"0-7-10,1-7-20", "0-7-12,1-7-20,2-7-1", "0-7-12,1-7-20,2-7-1"}, // missed
		{"0-7-10,1-7-20", "0-7-3,1-7-20", "0-7-10,1-7-20"},
		{"0-7-10,1-7-20", "1-7-20", "1-7-20"}, // the domain was deleted
		{"0-7-10", "0-8-3", "0-8-3"},          // another server's
		{"0-6-4,0-7-10", "0-6-4,0-7-3", "0-6-4,0-7-10"},
	} {
		parse := func(text string) *State {
			list, err := ParseList(text)
			if err != nil {
				t.Fatal(err)
			}
			return NewState(list)
		}
		s := parse(c.was)
		s.Follow(parse(c.listed))
		if got := FormatList(s.List()); got != c.want || s.String() != parse(c.want).String() {
			t.Errorf("%s, then a file with %s: %s, expected %s", c.was, c.listed, got, c.want)
		}
	}
}

// reference makes the GTID_LIST of a history without a State.
func reference(history []GTID) string {
	var list []GTID
	for i, g := range history {
		later := slices.ContainsFunc(history[i+1:], func(h GTID) bool { return h.Domain == g.Domain && h.Server == g.Server })
		if !later {
			list = append(list, g)
		}
	}
	last := map[uint32]uint32{}
	for _, g := range history {
		last[g.Domain] = g.Server
	}
	rank := func(g GTID) string {
		newest := 0
		if last[g.Domain] == g.Server {
			newest = 1
		}
		return fmt.Sprintf("%010d %d %010d", g.Domain, newest, g.Server)
	}
	slices.SortFunc(list, func(a, b GTID) int { return strings.Compare(rank(a), rank(b)) })
	return FormatList(list)
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "0-1-2", "0-1-2,1-2-3", ",", "0-1-2,0-1-3", "a-b-c", "4294967295-1-18446744073709551615"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if g, err := Parse(s); err == nil && !g.IsZero() {
			if again, err := Parse(g.String()); err != nil || again != g {
				t.Errorf("%q is %v, which reads as %v, %v", s, g, again, err)
			}
		}
		if list, err := ParseList(s); err == nil {
			state := NewState(list)
			if !NewState(state.List()).Equal(state) {
				t.Errorf("%q: a state is not that of its list", s)
			}
		}
		if p, err := ParsePosition(s); err == nil && !slices.ContainsFunc(p.List(), GTID.IsZero) {
			if again, err := ParsePosition(p.String()); err != nil || !again.Equal(p) {
				t.Errorf("%q is %v, which reads as %v, %v", s, p, again, err)
			}
		}
	})
}
