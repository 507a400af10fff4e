package durabletest

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
)

// Fate is what becomes of what was not synced when the power is lost.
type Fate int

// The fates.
const (
	Lost Fate = iota // nothing of it is on the disk
	Kept             // all of it is
	Torn             // some of it is, by chance
)

func (f Fate) String() string { return []string{"lost", "kept", "torn"}[f] }

// Crash returns what the next process finds after a loss of power now: another file system, which the
// processes of before cannot reach. It leaves m as it is, so that one moment can have every fate. rng is for
// Torn alone; the same state and the same numbers are torn in the same way.
//
// Torn, a directory has all its changes up to some one, or some of them in their order; a file has a size
// between that on the disk and the present one, and its sectors that were written are as they were written,
// as they were before, zeros, or where the file has grown also garbage. What was synced, and not written
// again, stays.
func (m *Mem) Crash(fate Fate, rng *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &crash{fate: fate, rng: rng, done: make(map[*node]*node)}
	return &Mem{root: c.survivor(m.root)}
}

// Clone returns another file system in the same state, synced or not, without its locks and open files.
func (m *Mem) Clone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Mem{root: m.root.clone(make(map[*node]*node))}
}

func (n *node) clone(done map[*node]*node) *node {
	if n == nil || done[n] != nil {
		return done[n]
	}
	c := &node{isDir: n.isDir, mod: n.mod, data: bytes.Clone(n.data), disk: n.disk, names: maps.Clone(n.names), kept: maps.Clone(n.kept)}
	done[n] = c
	for _, names := range []map[string]*node{c.names, c.kept} {
		for name, below := range names {
			names[name] = below.clone(done)
		}
	}
	for _, ch := range n.changes {
		ch.to = ch.to.clone(done)
		c.changes = append(c.changes, ch)
	}
	return c
}

// crash is one loss of power.
type crash struct {
	fate Fate
	rng  *rand.Rand
	done map[*node]*node // a file of several names survives once
}

func (c *crash) survivor(n *node) *node {
	if s := c.done[n]; s != nil {
		return s
	}
	s := &node{isDir: n.isDir, mod: n.mod}
	c.done[n] = s
	if !n.isDir {
		s.disk = c.content(n.disk, n.data)
		s.data = bytes.Clone(s.disk)
		return s
	}
	left := c.names(n)
	s.names = make(map[string]*node, len(left))
	for _, name := range slices.Sorted(maps.Keys(left)) {
		s.names[name] = c.survivor(left[name])
	}
	s.kept = maps.Clone(s.names)
	return s
}

// names are those that a directory has afterwards.
func (c *crash) names(n *node) map[string]*node {
	switch {
	case c.fate == Kept:
		return n.names
	case c.fate == Lost || len(n.changes) == 0:
		return n.kept
	}
	names := maps.Clone(n.kept)
	if c.rng.IntN(2) == 0 { // a journal, written up to somewhere
		for _, ch := range n.changes[:c.rng.IntN(len(n.changes)+1)] {
			ch.apply(names)
		}
		return names
	}
	for _, ch := range n.changes {
		if c.rng.IntN(2) == 0 {
			ch.apply(names)
		}
	}
	return names
}

// sector is what a disk writes at once, in bytes.
const sector = 512

// content is what a file has afterwards, of which one part was on the disk and all was written.
func (c *crash) content(disk, data []byte) []byte {
	switch {
	case c.fate == Kept:
		return data
	case c.fate == Lost || bytes.Equal(disk, data):
		return disk
	}
	short, long := min(len(disk), len(data)), max(len(disk), len(data))
	size := short + c.rng.IntN(long-short+1)
	if c.rng.IntN(3) == 0 {
		size = long
	}
	out := make([]byte, size)
	copy(out, disk) // where the file was cut, that can still be there
	copy(out, data)
	if c.rng.IntN(2) == 0 {
		return out // cut off cleanly
	}
	for at := 0; at < size; at += sector {
		c.tear(out[at:min(at+sector, size)], disk[min(at, len(disk)):])
	}
	return out
}

// tear does to a sector that was written what may become of it. before is what the disk had from there on.
func (c *crash) tear(s, before []byte) {
	old := min(len(s), len(before))
	if bytes.Equal(s, before[:old]) && old == len(s) {
		return
	}
	grown := s[old:]
	switch c.rng.IntN(4) {
	case 0: // not written
		copy(s, before)
		clear(grown)
	case 1: // in part
		if len(grown) > 0 {
			clear(grown[c.rng.IntN(len(grown)):])
		}
	case 2:
		if len(grown) > 0 {
			grown[c.rng.IntN(len(grown))] ^= byte(1 + c.rng.IntN(255))
		}
	}
}
