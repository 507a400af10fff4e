package restore

import (
	"testing"

	"tidemark/internal/gtid"
)

// TestBehind finds the first transaction that a server has not applied, also where numbers do not rise and domains are apart.
func TestBehind(t *testing.T) {
	log := []gtid.GTID{{Domain: 0, Server: 1, Seq: 5}, {Domain: 1, Server: 1, Seq: 1}, {Domain: 0, Server: 1, Seq: 3}, {Domain: 0, Server: 1, Seq: 4}, {Domain: 1, Server: 1, Seq: 2}}
	for at, want := range map[string]string{
		"":            "0-1-5",
		"0-1-5":       "1-1-1",
		"0-1-5,1-1-1": "0-1-3",
		"0-1-3,1-1-1": "0-1-4",
		"0-1-4,1-1-1": "1-1-2",
		"0-1-4":       "1-1-1",
		"0-1-4,1-1-2": "",
		"0-1-2,1-1-2": "0-1-5", // what the position names lies before
	} {
		p, err := gtid.ParsePosition(at)
		if err != nil {
			t.Fatal(err)
		}
		found := behind{at: gtid.NewState(p.List()), first: map[uint32]*Transaction{}, order: map[uint32]int{}}
		for _, g := range log {
			found.add(transaction{gtid: g, what: new(summary)})
		}
		got := ""
		if tx := found.earliest(); tx != nil {
			got = tx.GTID
		}
		if got != want {
			t.Errorf("at %q: %q, expected %q", at, got, want)
		}
	}
}
