package verify

import (
	"strings"
	"testing"

	"tidemark/internal/catalog"
	"tidemark/internal/gtid"
)

var servers = strings.NewReplacer("a:", "aaaaaaaa-0000-0000-0000-00000000000a:", "b:", "bbbbbbbb-0000-0000-0000-00000000000b:",
	"u:", "cccccccc-0000-0000-0000-00000000000c:")

// TestBaseHolds: a base backup may hold more than the log at its position, and must not hold less.
func TestBaseHolds(t *testing.T) {
	for _, c := range []struct {
		flavor    gtid.Flavor
		held, log string
		want      bool
	}{
		{gtid.MySQL, "a:1-10", "a:1-10", true},
		{gtid.MySQL, "u:1-9:t:1,a:1-10", "a:1-10", true},
		{gtid.MySQL, "u:1-9,a:1-9", "a:1-10", false},
		{gtid.MySQL, "no set", "a:1-10", false},
		{gtid.MariaDB, "0-1-5", "0-1-5", true},
		{gtid.MariaDB, "0-1-5,7-1-9", "0-1-5", true}, // known as a replica
		{gtid.MariaDB, "0-1-6", "0-1-5", false},
		{gtid.MariaDB, "0-1-5", "0-1-5,7-1-9", false},
	} {
		b := &base{Base: &catalog.Base{Flavor: c.flavor, PositionMax: catalog.Position{GTID: servers.Replace(c.held)}}}
		if got := b.holds(catalog.Position{GTID: servers.Replace(c.log)}); got != c.want {
			t.Errorf("a base backup at %s, where the log is at %s: %v, not %v", c.held, c.log, got, c.want)
		}
	}
}

// TestRecountLists: archives are checked by the rule by which they were written.
func TestRecountLists(t *testing.T) {
	for after, want := range map[string]string{
		"a:6-10,b:1":   "a:6-10,b:1", // by an earlier archiver: what a server lists is all
		"a:1-10,b:1":   "a:1-10,b:1",
		"a:1-10,b:1-9": "a:1-10,b:1",
	} {
		s := &catalog.Segment{Before: catalog.Position{GTID: servers.Replace("a:1-10")}, After: catalog.Position{GTID: servers.Replace(after)}}
		s.Source.ServerUUID = "bbbbbbbb-0000-0000-0000-00000000000b"
		c, err := newRecount(s)
		if err != nil {
			t.Fatal(err)
		}
		listed, err := gtid.ParseSet(servers.Replace("a:6-10,b:1"))
		if err != nil {
			t.Fatal(err)
		}
		if c.follow(gtid.NewSetState(listed)); c.state.String() != servers.Replace(want) {
			t.Errorf("with %s behind it: %s, not %s", after, c.state, want)
		}
	}
}
