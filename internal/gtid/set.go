package gtid

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// UUID identifies a MySQL server.
type UUID [16]byte

// String returns the 36 characters that MySQL writes.
func (u UUID) String() string {
	var b [36]byte
	hex.Encode(b[:8], u[:4])
	hex.Encode(b[9:13], u[4:6])
	hex.Encode(b[14:18], u[6:8])
	hex.Encode(b[19:23], u[8:10])
	hex.Encode(b[24:], u[10:])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// ParseUUID reads a UUID of 32 hexadecimal digits with or without hyphens.
func ParseUUID(s string) (u UUID, err error) {
	digits := strings.ReplaceAll(s, "-", "")
	if len(digits) != 2*len(u) {
		return u, fmt.Errorf("%q is not a UUID", s)
	}
	if _, err := hex.Decode(u[:], []byte(digits)); err != nil {
		return u, fmt.Errorf("%q is not a UUID", s)
	}
	return u, nil
}

// Set is a set of MySQL's GTIDs: what a server has executed, in no order. The zero Set is empty and
// ready for use.
type Set struct {
	m map[source][]interval // in ascending order, apart from each other by one at least
}

// source is one series of numbers: of a server, or of a tag of that server.
type source struct {
	uuid UUID
	tag  string
}

// interval is the numbers from first up to but not including end.
type interval struct{ first, end uint64 }

// maxNumber is the greatest number of a GTID, as MySQL has it.
const maxNumber = 1<<63 - 2

// ParseSet reads a set as MySQL writes it, "uuid:1-5:7,uuid:9:tag:1-3". "" is the empty set.
func ParseSet(text string) (*Set, error) {
	s := new(Set)
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		fields := strings.Split(part, ":")
		uuid, err := ParseUUID(strings.TrimSpace(fields[0]))
		if err != nil {
			return nil, fmt.Errorf("%q is not a set of GTIDs (uuid:1-100): %w", text, err)
		}
		of, numbers := source{uuid: uuid}, 0
		for _, f := range fields[1:] {
			f = strings.TrimSpace(f)
			if tag := strings.ToLower(f); isTag(tag) {
				of.tag = tag
				continue
			}
			i, ok := parseInterval(f)
			if !ok {
				return nil, fmt.Errorf("%q is not a set of GTIDs (uuid:1-100): %q is neither a tag nor a range", text, f)
			}
			s.add(of, i)
			numbers++
		}
		if numbers == 0 {
			return nil, fmt.Errorf("%q is not a set of GTIDs (uuid:1-100): %s has no numbers", text, uuid)
		}
	}
	return s, nil
}

func parseInterval(s string) (interval, bool) {
	first, last, ranged := strings.Cut(s, "-")
	a, err := strconv.ParseUint(strings.TrimSpace(first), 10, 64)
	b := a
	if err == nil && ranged {
		b, err = strconv.ParseUint(strings.TrimSpace(last), 10, 64)
	}
	return interval{a, b + 1}, err == nil && 0 < a && a <= b && b <= maxNumber
}

// isTag: a letter or underscore, then those and digits, 32 at most, lower case.
func isTag(s string) bool {
	if s == "" || len(s) > 32 || '0' <= s[0] && s[0] <= '9' {
		return false
	}
	for _, c := range []byte(s) {
		if c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// String returns the set as MySQL does: servers ascending, each with its untagged numbers first.
func (s *Set) String() string {
	var b strings.Builder
	var last UUID
	for n, of := range s.sources() {
		switch {
		case n == 0 || of.uuid != last:
			if n > 0 {
				b.WriteByte(',')
			}
			b.WriteString(of.uuid.String())
		}
		last = of.uuid
		if of.tag != "" {
			b.WriteString(":" + of.tag)
		}
		for _, i := range s.m[of] {
			fmt.Fprintf(&b, ":%d", i.first)
			if i.end-i.first > 1 {
				fmt.Fprintf(&b, "-%d", i.end-1)
			}
		}
	}
	return b.String()
}

func (s *Set) sources() []source {
	return slices.SortedFunc(maps.Keys(s.m), func(a, b source) int {
		return cmp.Or(bytes.Compare(a.uuid[:], b.uuid[:]), cmp.Compare(a.tag, b.tag))
	})
}

// Add adds one GTID and reports whether it was new.
func (s *Set) Add(g GTID) bool {
	if s.Contains(g) {
		return false
	}
	s.add(source{g.UUID, g.Tag}, interval{g.Seq, g.Seq + 1})
	return true
}

// Remove takes one GTID out.
func (s *Set) Remove(g GTID) { s.remove(source{g.UUID, g.Tag}, interval{g.Seq, g.Seq + 1}) }

// Contains reports whether a GTID is in the set.
func (s *Set) Contains(g GTID) bool {
	return s.covers(source{g.UUID, g.Tag}, interval{g.Seq, g.Seq + 1})
}

// ContainsSet reports whether all of t is in the set.
func (s *Set) ContainsSet(t *Set) bool {
	for of, list := range t.m {
		for _, i := range list {
			if !s.covers(of, i) {
				return false
			}
		}
	}
	return true
}

// Union adds all of t.
func (s *Set) Union(t *Set) {
	for of, list := range t.m {
		for _, i := range list {
			s.add(of, i)
		}
	}
}

// Subtract takes all of t out.
func (s *Set) Subtract(t *Set) {
	for of, list := range t.m {
		for _, i := range list {
			s.remove(of, i)
		}
	}
}

// Intersects reports whether some GTID is in both.
func (s *Set) Intersects(t *Set) bool {
	for of, list := range t.m {
		for _, i := range list {
			for _, j := range s.m[of] {
				if i.first < j.end && j.first < i.end {
					return true
				}
			}
		}
	}
	return false
}

// Empty reports whether there is nothing in the set.
func (s *Set) Empty() bool { return len(s.m) == 0 }

// Count returns how many GTIDs are in the set.
func (s *Set) Count() uint64 {
	var n uint64
	for _, list := range s.m {
		for _, i := range list {
			n += i.end - i.first
		}
	}
	return n
}

// Equal reports whether both hold the same GTIDs.
func (s *Set) Equal(t *Set) bool {
	return maps.EqualFunc(s.m, t.m, slices.Equal[[]interval])
}

// Clone returns a copy that shares nothing with s.
func (s *Set) Clone() *Set {
	c := &Set{m: make(map[source][]interval, len(s.m))}
	for of, list := range s.m {
		c.m[of] = slices.Clone(list)
	}
	return c
}

// after returns the index of the first interval that ends behind n.
func after(list []interval, n uint64) int {
	i, _ := slices.BinarySearchFunc(list, n, func(i interval, n uint64) int {
		if i.end > n {
			return 1
		}
		return -1
	})
	return i
}

func (s *Set) covers(of source, i interval) bool {
	list := s.m[of]
	at := after(list, i.first)
	return at < len(list) && list[at].first <= i.first && i.end <= list[at].end
}

// add puts an interval in, joined with those it touches. The usual one goes on at the end of the last.
func (s *Set) add(of source, i interval) {
	if s.m == nil {
		s.m = map[source][]interval{}
	}
	list := s.m[of]
	if n := len(list); n > 0 && list[n-1].end == i.first {
		list[n-1].end = i.end
		return
	}
	from := after(list, i.first-1)
	to := from
	for ; to < len(list) && list[to].first <= i.end; to++ {
		i.first, i.end = min(i.first, list[to].first), max(i.end, list[to].end)
	}
	s.m[of] = slices.Replace(list, from, to, i)
}

func (s *Set) remove(of source, i interval) {
	var left []interval
	for _, j := range s.m[of] {
		if j.first < i.first {
			left = append(left, interval{j.first, min(j.end, i.first)})
		}
		if j.end > i.end {
			left = append(left, interval{max(j.first, i.end), j.end})
		}
	}
	if len(left) == 0 {
		delete(s.m, of)
		return
	}
	s.m[of] = left
}
