package restore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/fault"
)

// pattern is a statement as somebody remembers it: its verb, and what it is about.
type pattern struct {
	verb     string // in capitals: "DROP TABLE"
	db, name string // "": any
	until    time.Time
}

// BeforeStatement is before the transaction with the last such statement in the log, of those committed
// before until, unless that is zero: "DROP TABLE shop.orders", "DELETE FROM shop.orders", "DROP DATABASE
// shop". A row change is found by what it does and the table's name. Without a name, or without its
// database, any is meant. The error is of kind Usage.
func BeforeStatement(text string, until time.Time) (Target, error) {
	refused := func(why string) (Target, error) {
		return Target{}, fault.New(fault.Usage, "read target statement", text, errors.New(why)).
			WithHint("Give what it does and to what: 'DROP TABLE shop.orders', 'DELETE FROM shop.orders', 'DROP DATABASE shop'.")
	}
	verb, names := subjects("", text)
	switch {
	case verb == "":
		return refused("it is no statement that changes anything by name")
	case len(names) > 1:
		return refused("it names several things")
	}
	p := &pattern{verb: verb, until: until}
	if len(names) == 1 {
		p.db, p.name = names[0].db, names[0].name
	}
	return Target{kind: beforeStatement, statement: p}, nil
}

func (p *pattern) String() string {
	s := p.verb
	switch {
	case p.db != "":
		s += " " + quote(p.db) + "." + quote(p.name)
	case p.name != "":
		s += " " + quote(p.name)
	}
	if !p.until.IsZero() {
		s += " before " + p.until.UTC().Format(time.RFC3339Nano)
	}
	return s
}

// subject is what a statement is about.
type subject struct{ db, name string }

// matches reports whether a statement is meant.
func (p *pattern) matches(verb string, names []subject) bool {
	if verb != p.verb {
		return false
	}
	if p.name == "" {
		return true
	}
	for _, n := range names {
		if n.name == p.name && (p.db == "" || n.db == p.db) {
			return true
		}
	}
	return false
}

// mostTokens bounds what is read of a statement: a DROP TABLE may name many tables.
const mostTokens = 4096

// subjects reads the verb of a statement, in one form whichever it was written in, and the names of what
// it is about, qualified with the default database. The verb is "" of one that names nothing.
func subjects(db, text string) (verb string, names []subject) {
	words := tokens(text, mostTokens)
	if len(words) == 0 || !named[strings.ToUpper(words[0])] {
		return "", nil
	}
	parts := []string{strings.ToUpper(words[0])}
	i := 1
	for ; i < len(words) && filler[strings.ToUpper(words[i])]; i++ {
		if w := strings.ToUpper(words[i]); !silent[w] {
			parts = append(parts, strings.Replace(w, "TABLES", "TABLE", 1))
		}
	}
	verb = strings.Join(parts, " ")
	switch verb {
	case "TRUNCATE", "ALTER":
		verb += " TABLE"
	case "INSERT", "REPLACE":
		verb += " INTO"
	case "DELETE":
		verb += " FROM"
	}
	whole := strings.HasSuffix(verb, "DATABASE") || strings.HasSuffix(verb, "SCHEMA")
	verb = strings.Replace(verb, "SCHEMA", "DATABASE", 1)
	for i < len(words) && nameStart(words[i]) {
		n := subject{db: db, name: unquote(words[i])}
		if whole {
			n.db = ""
		}
		i++
		if i+1 < len(words) && words[i] == "." {
			n = subject{db: n.name, name: unquote(words[i+1])}
			i += 2
		}
		names = append(names, n)
		if i >= len(words) || words[i] != "," || parts[0] != "DROP" {
			break
		}
		i++
	}
	return verb, names
}

// findStatement finds the last transaction with a statement of the log, reading it from its end.
func (h *history) findStatement(ctx context.Context, t Target) (spot, error) {
	for i := len(h.segments) - 1; i >= 0; i-- {
		s := h.segments[i]
		if s.Transactions == 0 || !t.statement.until.IsZero() && !s.Commit.Min.Before(t.statement.until) {
			continue
		}
		at, err := h.lastStatement(ctx, s, t.statement)
		if err != nil {
			return spot{}, err
		}
		if at != nil {
			return spot{i, *at}, h.wholeBehind(i)
		}
	}
	if h.broken != nil {
		return spot{}, h.broken
	}
	return spot{}, h.unreachable(t, fmt.Errorf("there is no such statement in the archived log"))
}

// wholeBehind refuses to call a statement the last of its kind when a part of the log behind it cannot be
// read.
func (h *history) wholeBehind(i int) error {
	for _, r := range h.stretches {
		if r.end > i && fault.Is(r.hole, fault.Integrity) {
			return r.hole
		}
	}
	return h.broken
}

// lastStatement returns where the last transaction of a segment begins that has a statement; nil if none
// has.
func (h *history) lastStatement(ctx context.Context, s *catalog.Segment, p *pattern) (*uint64, error) {
	r, err := h.c.OpenSegment(ctx, s)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var found *uint64
	var start uint64
	var meant, early bool
	tables := make(map[uint64]subject) // of the transaction, by their number in it
	var see func(typ binlog.Type, body []byte) bool
	see = func(typ binlog.Type, body []byte) bool {
		switch {
		case typ == binlog.TypePayload:
			unpack(body, see)
		case typ == typeTableMap:
			if id, n, ok := tableOf(body); ok {
				tables[id] = n
			}
		case rowVerb(typ) != "" && len(body) >= 6:
			meant = meant || p.matches(rowVerb(typ), []subject{tables[tableID(body)]})
		case typ == binlog.TypeQuery, typ == binlog.TypeQueryCompressed:
			verb, names := subjects(queryText(body, 13, typ == binlog.TypeQueryCompressed))
			meant = meant || verb != "" && p.matches(verb, names)
		case typ == binlog.TypeExecuteLoadQuery:
			verb, names := subjects(queryText(body, 26, false))
			meant = meant || verb != "" && p.matches(verb, names)
		}
		return !meant
	}
	for {
		ev, err := r.Next()
		if err == io.EOF {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		switch {
		case ev.Head || ev.Offset >= s.Source.End:
			continue
		case ev.First && ev.Begin:
			start, meant, early = ev.Offset, false, p.until.IsZero() || ev.CommitTime().Before(p.until)
			clear(tables)
		case ev.First && !meant && early:
			see(ev.Type, r.Body(ev))
		}
		if ev.Last && ev.End && meant {
			at := start
			found, meant = &at, false
		}
	}
}

// tableID is the number by which a row change names its table, and a table's map introduces it.
func tableID(body []byte) uint64 {
	return uint64(binary.LittleEndian.Uint32(body)) | uint64(binary.LittleEndian.Uint16(body[4:]))<<32
}

// tableOf reads the number, the database and the table of a table's map.
func tableOf(body []byte) (id uint64, s subject, ok bool) {
	if len(body) < 9 {
		return 0, s, false
	}
	db, rest, ok := counted(body[8:])
	if !ok || len(rest) == 0 {
		return 0, s, false
	}
	table, _, ok := counted(rest[1:]) // after a NUL
	return tableID(body), subject{db, table}, ok
}
