package gtid

import (
	"cmp"
	"slices"
)

// State is the state of a MariaDB binlog at a point: the last transaction of every
// (domain, server) pair that ever wrote to it, and for each domain which one came last. It is what
// a GTID_LIST event at the start of a binlog file holds.
type State struct {
	last map[pair]uint64
	tip  Position
}

type pair struct{ domain, server uint32 }

// NewState returns the state that a list describes; within a domain the last entry is the newest,
// as the server writes it.
func NewState(list []GTID) *State {
	s := &State{last: make(map[pair]uint64, len(list)), tip: make(Position)}
	for _, g := range list {
		s.last[pair{g.Domain, g.Server}] = g.Seq
		s.tip[g.Domain] = g
	}
	return s
}

// Add records that g was logged after everything so far. What it returns takes that back.
func (s *State) Add(g GTID) Undo {
	p := pair{g.Domain, g.Server}
	seq, known := s.last[p]
	u := Undo{pair: p, seq: seq, known: known, tip: s.tip[g.Domain]}
	s.last[p] = g.Seq
	s.tip[g.Domain] = g
	return u
}

// Undo takes one Add back.
type Undo struct {
	pair  pair
	seq   uint64
	known bool
	tip   GTID
}

// Revert takes back the Add that returned u, which must be the last one not taken back.
func (s *State) Revert(u Undo) {
	if u.known {
		s.last[u.pair] = u.seq
	} else {
		delete(s.last, u.pair)
	}
	if u.tip.IsZero() {
		delete(s.tip, u.pair.domain)
	} else {
		s.tip[u.pair.domain] = u.tip
	}
}

// Reset makes s the state that a list describes, as NewState.
func (s *State) Reset(list []GTID) { *s = *NewState(list) }

// Position returns the last transaction of every domain.
func (s *State) Position() Position { return s.tip.Clone() }

// Tip returns the last transaction of one domain, or none.
func (s *State) Tip(domain uint32) GTID { return s.tip[domain] }

// List returns the state in the order of a GTID_LIST event: domains ascending, in each domain the
// servers ascending with the newest one last.
func (s *State) List() []GTID {
	list := make([]GTID, 0, len(s.last))
	for p, seq := range s.last {
		list = append(list, GTID{p.domain, p.server, seq})
	}
	slices.SortFunc(list, func(a, b GTID) int {
		switch {
		case a.Domain != b.Domain:
			return cmp.Compare(a.Domain, b.Domain)
		case s.tip[a.Domain].Server == a.Server:
			return 1
		case s.tip[b.Domain].Server == b.Server:
			return -1
		}
		return cmp.Compare(a.Server, b.Server)
	})
	return list
}

// Clone returns a copy that shares nothing with s.
func (s *State) Clone() *State { return NewState(s.List()) }

// Equal reports whether both describe the same history.
func (s *State) Equal(t *State) bool {
	return FormatList(s.List()) == FormatList(t.List())
}
