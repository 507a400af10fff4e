// Package gtid holds the global transaction identifiers of MariaDB and MySQL as values: one GTID,
// the position of a replica, and the state of a binlog. They do no I/O.
//
// A MariaDB GTID is domain-server-sequence, "0-1-34103". Each domain is a stream of its own with
// its own order; a Position names the last transaction of each. Sequence numbers usually rise in a
// domain but need not (non-strict mode), so nothing here orders two GTIDs by number.
//
// A MySQL GTID is uuid:number or uuid:tag:number. What a server has is a Set, which has no order.
package gtid

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Flavor tells MariaDB's GTIDs from MySQL's.
type Flavor int

// The flavors.
const (
	MariaDB Flavor = iota + 1
	MySQL
)

// String returns "mariadb" or "mysql".
func (f Flavor) String() string {
	switch f {
	case MariaDB:
		return "mariadb"
	case MySQL:
		return "mysql"
	}
	return "unknown"
}

// GTID identifies one transaction. The zero value is none.
type GTID struct {
	Domain, Server uint32 // MariaDB

	UUID UUID   // MySQL; zero: the GTID is MariaDB's
	Tag  string // MySQL; usually ""

	Seq uint64 // the sequence number, or MySQL's number
}

// IsZero reports whether g is no GTID.
func (g GTID) IsZero() bool { return g == GTID{} }

// String returns "domain-server-sequence" or "uuid:number", or "" for none.
func (g GTID) String() string {
	switch {
	case g.IsZero():
		return ""
	case g.UUID != UUID{} && g.Tag != "":
		return fmt.Sprintf("%s:%s:%d", g.UUID, g.Tag, g.Seq)
	case g.UUID != UUID{}:
		return fmt.Sprintf("%s:%d", g.UUID, g.Seq)
	}
	return fmt.Sprintf("%d-%d-%d", g.Domain, g.Server, g.Seq)
}

// Parse reads one GTID, "0-1-34103" or "3e11fa47-71ca-11e1-9e33-c80aa9429562:23".
func Parse(s string) (GTID, error) {
	if strings.Contains(s, ":") {
		return parseMySQL(s)
	}
	parts := strings.Split(strings.TrimSpace(s), "-")
	if len(parts) != 3 {
		return GTID{}, fmt.Errorf("%q is not a GTID (domain-server-sequence, as 0-1-100)", s)
	}
	domain, err1 := strconv.ParseUint(parts[0], 10, 32)
	server, err2 := strconv.ParseUint(parts[1], 10, 32)
	seq, err3 := strconv.ParseUint(parts[2], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return GTID{}, fmt.Errorf("%q is not a GTID (domain-server-sequence, as 0-1-100)", s)
	}
	return GTID{Domain: uint32(domain), Server: uint32(server), Seq: seq}, nil
}

func parseMySQL(s string) (GTID, error) {
	set, err := ParseSet(s)
	if err == nil && set.Count() != 1 {
		err = fmt.Errorf("%q is not one GTID (uuid:number)", s)
	}
	if err != nil {
		return GTID{}, err
	}
	of := set.sources()[0]
	return GTID{UUID: of.uuid, Tag: of.tag, Seq: set.m[of][0].first}, nil
}

// ParseList reads GTIDs separated by commas, in the order given. "" is an empty list.
func ParseList(s string) ([]GTID, error) {
	var list []GTID
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		g, err := Parse(part)
		if err != nil {
			return nil, err
		}
		list = append(list, g)
	}
	return list, nil
}

// FormatList is the inverse of ParseList.
func FormatList(list []GTID) string {
	parts := make([]string, len(list))
	for i, g := range list {
		parts[i] = g.String()
	}
	return strings.Join(parts, ",")
}

// Position is the last transaction of every domain: what a replica has applied. The nil Position
// is the beginning of history.
type Position map[uint32]GTID

// ParsePosition reads a position, "0-1-5,1-2-7"; a domain may occur once.
func ParsePosition(s string) (Position, error) {
	list, err := ParseList(s)
	if err != nil {
		return nil, err
	}
	p := make(Position, len(list))
	for _, g := range list {
		if _, twice := p[g.Domain]; twice {
			return nil, fmt.Errorf("position %q names domain %d twice", s, g.Domain)
		}
		p[g.Domain] = g
	}
	return p, nil
}

// String returns the GTIDs by ascending domain, separated by commas.
func (p Position) String() string { return FormatList(p.List()) }

// List returns the GTIDs by ascending domain.
func (p Position) List() []GTID {
	list := make([]GTID, 0, len(p))
	for _, g := range p {
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b GTID) int { return cmp.Compare(a.Domain, b.Domain) })
	return list
}

// Clone returns a copy that shares nothing with p.
func (p Position) Clone() Position {
	c := make(Position, len(p))
	for d, g := range p {
		c[d] = g
	}
	return c
}

// Equal reports whether both name the same transactions.
func (p Position) Equal(q Position) bool {
	if len(p) != len(q) {
		return false
	}
	for d, g := range p {
		if q[d] != g {
			return false
		}
	}
	return true
}
