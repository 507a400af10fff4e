package gtid

import (
	"cmp"
	"slices"
)

// State is the state of a binlog at a point. For MariaDB it is the last transaction of every
// (domain, server) pair that ever wrote to it, and for each domain which one came last: what a GTID_LIST
// event at the start of a binlog file holds. For MySQL it is the set of all transactions in it and before
// it, what a PREVIOUS_GTIDS event holds.
type State struct {
	last map[pair]uint64 // MariaDB
	tip  Position

	set *Set // MySQL; nil: the state is MariaDB's
}

type pair struct{ domain, server uint32 }

// Beginning returns the state before the first transaction ever.
func Beginning(f Flavor) *State {
	if f == MySQL {
		return NewSetState(new(Set))
	}
	return NewState(nil)
}

// NewSetState returns the state of a MySQL binlog; the set is the state's from then on.
func NewSetState(s *Set) *State { return &State{set: s} }

// Flavor tells whose binlog it is.
func (s *State) Flavor() Flavor {
	if s.set != nil {
		return MySQL
	}
	return MariaDB
}

// Set returns MySQL's set, which must not be changed; nil for MariaDB.
func (s *State) Set() *Set { return s.set }

// String returns the GTID position as the server writes it: MariaDB's last transaction of every
// domain, or MySQL's set.
func (s *State) String() string {
	if s.set != nil {
		return s.set.String()
	}
	return s.tip.String()
}

// NewState returns the state that a MariaDB list describes; within a domain the last entry is the newest,
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
	if s.set != nil {
		return Undo{gtid: g, known: !s.set.Add(g)}
	}
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
	gtid  GTID // MySQL
}

// Revert takes back the Add that returned u, which must be the last one not taken back.
func (s *State) Revert(u Undo) {
	if s.set != nil {
		if !u.known {
			s.set.Remove(u.gtid)
		}
		return
	}
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

// Follow brings s to what the head of the next binlog file lists, as the server has it.
//
// MySQL lists what its own log has held. A server that was filled with a copy of another one lists less than was
// archived from that one, and nothing is undone by that: the set only grows.
//
// MariaDB's list replaces the state, so that a domain that was deleted (FLUSH BINARY LOGS DELETE_DOMAIN_ID) leaves it.
// Killed while it writes a transaction, MariaDB may list a domain in the file that it begins then as it was some
// transactions earlier (10.11, 11.8); what is in the log already stays in it.
func (s *State) Follow(listed *State) {
	if s.set != nil || listed.set != nil {
		if s.set != nil && listed.set != nil {
			s.set.Union(listed.set)
		}
		return
	}
	was := *s
	*s = *listed
	for domain, g := range was.tip {
		if t, ok := s.tip[domain]; !ok || t.Server != g.Server || t.Seq >= g.Seq {
			continue
		}
		s.tip[domain] = g
		for p, seq := range was.last {
			if p.domain == domain {
				s.last[p] = max(seq, s.last[p])
			}
		}
	}
}

// Position returns MariaDB's last transaction of every domain.
func (s *State) Position() Position { return s.tip.Clone() }

// Tip returns the last transaction of one domain, or none.
func (s *State) Tip(domain uint32) GTID { return s.tip[domain] }

// List returns the state in the order of a GTID_LIST event: domains ascending, in each domain the
// servers ascending with the newest one last.
func (s *State) List() []GTID {
	list := make([]GTID, 0, len(s.last))
	for p, seq := range s.last {
		list = append(list, GTID{Domain: p.domain, Server: p.server, Seq: seq})
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
func (s *State) Clone() *State {
	if s.set != nil {
		return NewSetState(s.set.Clone())
	}
	return NewState(s.List())
}

// SamePosition reports whether a replica at one is at the other: the same last transaction in every
// domain, or the same set.
func (s *State) SamePosition(t *State) bool {
	if s.set != nil || t.set != nil {
		return s.Equal(t)
	}
	return s.tip.Equal(t.tip)
}

// Covers reports whether a replica at s has all that a log at t holds, and for MariaDB nothing behind
// that. s may know domains that the log does not.
func (s *State) Covers(t *State) bool {
	if s.set != nil || t.set != nil {
		return s.set != nil && t.set != nil && s.set.ContainsSet(t.set)
	}
	for domain, g := range t.tip {
		if s.tip[domain] != g {
			return false
		}
	}
	return true
}

// Without returns what a server at s has that a log at t knows nothing of: MySQL's transactions, MariaDB's domains.
func (s *State) Without(t *State) *State {
	if s.set != nil {
		rest := s.set.Clone()
		if t.set != nil {
			rest.Subtract(t.set)
		}
		return NewSetState(rest)
	}
	return NewState(slices.DeleteFunc(s.List(), func(g GTID) bool { return !t.Tip(g.Domain).IsZero() }))
}

// Advance makes s the position of a replica at s that has applied a log up to t.
func (s *State) Advance(t *State) {
	if s.set != nil {
		s.set.Union(t.set)
		return
	}
	for _, g := range t.List() {
		s.Add(g)
	}
}

// Empty reports whether there is no transaction yet.
func (s *State) Empty() bool {
	if s.set != nil {
		return s.set.Empty()
	}
	return len(s.tip) == 0
}

// Equal reports whether both describe the same history.
func (s *State) Equal(t *State) bool {
	if s.set != nil || t.set != nil {
		return s.set != nil && t.set != nil && s.set.Equal(t.set)
	}
	return FormatList(s.List()) == FormatList(t.List())
}
