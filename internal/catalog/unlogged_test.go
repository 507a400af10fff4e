package catalog

import (
	"strings"
	"testing"

	"tidemark/internal/gtid"
)

var servers = strings.NewReplacer("a:", "aaaaaaaa-0000-0000-0000-00000000000a:", "u:", "cccccccc-0000-0000-0000-00000000000c:")

func setOf(t *testing.T, text string) *gtid.Set {
	t.Helper()
	set, err := gtid.ParseSet(servers.Replace(text))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// TestSamePosition: a log goes on right behind its end on a server that has purged all of it, and nothing else than what
// was in no log.
func TestSamePosition(t *testing.T) {
	for _, c := range []struct {
		purged, reached, unlogged string
		want                      bool
	}{
		{"a:1-10", "a:1-10", "", true},
		{"a:1-12", "a:1-10", "", false}, // a gap
		{"a:1-8", "a:1-10", "", false},  // not the same log
		{"u:1-9,a:1-10", "a:1-10", "", false},
		{"u:1-9,a:1-10", "a:1-10", "u:1-9", true},
		{"u:1-9,a:1-10", "a:1-10", "u:1-12", true},
		{"u:1-9,a:1-12", "a:1-10", "u:1-9", false},
		{"u:1-12,a:1-10", "a:1-10", "u:1-9", false},
	} {
		got, err := SamePosition(gtid.MySQL, servers.Replace(c.purged), gtid.NewSetState(setOf(t, c.reached)), setOf(t, c.unlogged))
		if err != nil || got != c.want {
			t.Errorf("purged to %s, archived to %s, %s in no log: %v, not %v, %v", c.purged, c.reached, c.unlogged, got, c.want, err)
		}
	}
}

func TestUnlogged(t *testing.T) {
	b := &Base{PositionMax: Position{GTID: servers.Replace("u:1-9,a:1-7")}}
	got, err := b.Unlogged(&Segment{After: Position{GTID: servers.Replace("a:1-10")}})
	if err != nil || got.String() != servers.Replace("u:1-9") {
		t.Errorf("%s, %v", got, err)
	}
	b.PositionMax.GTID = "no set"
	if _, err := b.Unlogged(&Segment{}); err == nil {
		t.Error("what is no set is read as one")
	}
}
