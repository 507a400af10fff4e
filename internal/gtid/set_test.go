package gtid

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

const (
	uuid1 = "11111111-1111-1111-1111-111111111111"
	uuid9 = "99999999-9999-9999-9999-999999999999"
)

func TestParseSet(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{uuid1 + ":1", uuid1 + ":1"},
		{uuid1 + ":1-5", uuid1 + ":1-5"},
		{uuid1 + ":4-5:1-3:7", uuid1 + ":1-5:7"},
		{uuid1 + ":1-5:3-9", uuid1 + ":1-9"},
		{uuid9 + ":5, " + uuid1 + ":1-3:tagx:1-2,\n" + uuid1 + ":4", uuid1 + ":1-4:tagx:1-2," + uuid9 + ":5"},
		{uuid1 + ":tag_1:2", uuid1 + ":tag_1:2"},
		{uuid1 + ":TagX:2:a:1", uuid1 + ":a:1:tagx:2"},
		{strings.ToUpper("abcdefab-cdef-abcd-efab-cdefabcdefab") + ":1", "abcdefab-cdef-abcd-efab-cdefabcdefab:1"},
		{uuid1, "!"},
		{uuid1 + ":", "!"},
		{uuid1 + ":0", "!"},
		{uuid1 + ":5-1", "!"},
		{uuid1 + ":tag", "!"},
		{uuid1 + ":1:-", "!"},
		{uuid1 + ":9223372036854775807", "!"},
		{"0-1-2", "!"},
		{uuid1[1:] + ":1", "!"},
	} {
		s, err := ParseSet(tt.in)
		switch {
		case tt.want == "!" && err == nil:
			t.Errorf("%q is %s", tt.in, s)
		case tt.want != "!" && (err != nil || s.String() != tt.want):
			t.Errorf("%q is %v, %v; want %s", tt.in, s, err, tt.want)
		}
	}
}

// TestSetCode has bytes that a MySQL 9.7 server has sent.
func TestSetCode(t *testing.T) {
	tagged := "0103000000000001" + strings.Repeat("11", 16) + "00" + "0100000000000000" + "0100000000000000" + "e903000000000000" +
		strings.Repeat("11", 16) + "08" + hex.EncodeToString([]byte("tagx")) + "0100000000000000" + "0100000000000000" + "0300000000000000" +
		strings.Repeat("99", 16) + "00" + "0100000000000000" + "0500000000000000" + "0600000000000000"
	plain := "0200000000000000" + strings.Repeat("11", 16) + "0200000000000000" + "0100000000000000" + "0400000000000000" +
		"0600000000000000" + "0700000000000000" + strings.Repeat("99", 16) + "0100000000000000" + "0500000000000000" + "0600000000000000"
	for text, code := range map[string]string{
		uuid1 + ":1-1000:tagx:1-2," + uuid9 + ":5": tagged,
		uuid1 + ":1-3:6," + uuid9 + ":5":           plain,
		"":                                         "0000000000000000",
	} {
		data, err := hex.DecodeString(code)
		if err != nil {
			t.Fatal(err)
		}
		s, err := DecodeSet(data)
		if err != nil || s.String() != text {
			t.Errorf("%s is read as %v, %v", text, s, err)
			continue
		}
		if got := s.Encode(); !bytes.Equal(got, data) {
			t.Errorf("%s is written as %x", text, got)
		}
		for n := range data {
			if s, err := DecodeSet(data[:n]); err == nil {
				t.Errorf("%s cut off at %d is read as %s", text, n, s)
			}
		}
		if s, err := DecodeSet(append(data, 0)); err == nil {
			t.Errorf("%s and a byte is read as %s", text, s)
		}
	}
}

// TestSetModel compares sets with maps of single GTIDs.
func TestSetModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	some := func() GTID {
		g := GTID{UUID: UUID{byte(1 + rng.IntN(2))}, Seq: 1 + rng.Uint64N(20)}
		if rng.IntN(3) == 0 {
			g.Tag = "t"
		}
		return g
	}
	contains := func(a, b map[GTID]bool) bool {
		for g := range b {
			if !a[g] {
				return false
			}
		}
		return true
	}
	for range 300 {
		s, model := new(Set), map[GTID]bool{}
		other, otherModel := new(Set), map[GTID]bool{}
		for range rng.IntN(12) {
			g := some()
			other.Add(g)
			otherModel[g] = true
		}
		for range 60 {
			g := some()
			switch rng.IntN(8) {
			case 0:
				s.Remove(g)
				delete(model, g)
			case 1:
				s.Union(other)
				for g := range otherModel {
					model[g] = true
				}
			case 2:
				s.Subtract(other)
				for g := range otherModel {
					delete(model, g)
				}
			default:
				if s.Add(g) == model[g] {
					t.Fatalf("seed %d: add %s to %s", seed, g, s)
				}
				model[g] = true
			}
			if int(s.Count()) != len(model) || s.Empty() != (len(model) == 0) || s.Contains(some()) && len(model) == 0 {
				t.Fatalf("seed %d: %s counts %d, not %d", seed, s, s.Count(), len(model))
			}
			if s.ContainsSet(other) != contains(model, otherModel) || other.ContainsSet(s) != contains(otherModel, model) {
				t.Fatalf("seed %d: %s and %s", seed, s, other)
			}
			both := s.Clone()
			both.Subtract(other)
			if s.Intersects(other) != (both.Count() != s.Count()) {
				t.Fatalf("seed %d: %s and %s share", seed, s, other)
			}
			again, err := ParseSet(s.String())
			if err != nil || !again.Equal(s) {
				t.Fatalf("seed %d: %s is read as %v, %v", seed, s, again, err)
			}
			if again, err = DecodeSet(s.Encode()); err != nil || !again.Equal(s) {
				t.Fatalf("seed %d: %s is decoded as %v, %v", seed, s, again, err)
			}
		}
		for g := range model {
			if !s.Contains(g) {
				t.Fatalf("seed %d: %s lacks %s", seed, s, g)
			}
		}
	}
}

// TestSetState: a MySQL binlog's state takes transactions back as MariaDB's does.
func TestSetState(t *testing.T) {
	set, err := ParseSet(uuid1 + ":1-5")
	if err != nil {
		t.Fatal(err)
	}
	s := NewSetState(set)
	before := s.Clone()
	g, err := Parse(uuid1 + ":tag:7")
	if err != nil || g.String() != uuid1+":tag:7" {
		t.Fatal(g, err)
	}
	undo := s.Add(g)
	if s.String() != uuid1+":1-5:tag:7" || before.String() != uuid1+":1-5" || s.Equal(before) || !s.Covers(before) || before.Covers(s) {
		t.Fatalf("%s, %s", s, before)
	}
	again := s.Add(g)
	s.Revert(again)
	if !s.Set().Contains(g) {
		t.Error("taking back what was there already took it out")
	}
	if s.Revert(undo); !s.SamePosition(before) {
		t.Errorf("%s after taking it back", s)
	}
	if s.Flavor() != MySQL || Beginning(MySQL).Flavor() != MySQL || Beginning(MariaDB).Flavor() != MariaDB || !Beginning(MySQL).Empty() {
		t.Error("flavors are confused")
	}
}

// TestFollowSets: what a MySQL server lists is added to what was archived, also where it lists less than that.
func TestFollowSets(t *testing.T) {
	const a, b = "aaaaaaaa-0000-0000-0000-00000000000a:", "bbbbbbbb-0000-0000-0000-00000000000b:"
	parse := func(text string) *State {
		set, err := ParseSet(text)
		if err != nil {
			t.Fatal(err)
		}
		return NewSetState(set)
	}
	for _, c := range []struct{ was, listed, want string }{
		{"", a + "1-10", a + "1-10"},
		{a + "1-10", a + "1-10", a + "1-10"},
		{a + "1-10", a + "6-10", a + "1-10"},
		{a + "1-10", a + "6-12," + b + "1:tag:1-3", a + "1-12," + b + "1:tag:1-3"},
	} {
		s, listed := parse(c.was), parse(c.listed)
		s.Follow(listed)
		if s.Add(GTID{UUID: UUID{1}, Seq: 1}); listed.String() != c.listed {
			t.Errorf("what was listed is %s now", listed)
		}
		if got := s.Without(parse("01000000-0000-0000-0000-000000000000:1")); got.String() != c.want {
			t.Errorf("%s, then a file with %s: %s, expected %s", c.was, c.listed, got, c.want)
		}
	}
	s := parse(a + "1-10")
	if s.Follow(NewState([]GTID{{Server: 1, Seq: 1}})); s.String() != a+"1-10" {
		t.Errorf("after a list of MariaDB's: %s", s)
	}
}

// TestWithout: of MariaDB, what a server knows beside a log are domains.
func TestWithout(t *testing.T) {
	s := NewState([]GTID{{Domain: 0, Server: 1, Seq: 5}, {Domain: 2, Server: 1, Seq: 7}, {Domain: 3, Server: 1, Seq: 1}})
	log := NewState([]GTID{{Domain: 0, Server: 1, Seq: 4}, {Domain: 3, Server: 2, Seq: 9}, {Domain: 4, Server: 2, Seq: 9}})
	if got := s.Without(log); got.String() != "2-1-7" || s.String() != "0-1-5,2-1-7,3-1-1" {
		t.Errorf("%s without %s: %s", s, log, got)
	}
}
