package restore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/fault"
	"tidemark/internal/sqltext"
)

// pattern is a statement as somebody remembers it: its verb, and what it is about.
type pattern struct {
	verb  string  // in capitals: "DROP TABLE"
	about subject // without a name, or without its database: any
	grant *grant  // of GRANT and REVOKE
	until time.Time
}

const understoodStatements = "Give what it does and to what, and nothing else: 'DROP TABLE shop.orders', 'DELETE FROM shop.orders', 'DROP DATABASE shop', " +
	"'CREATE TRIGGER shop.t', 'DROP INDEX i ON shop.orders', 'DROP USER app', 'GRANT SELECT ON shop.orders TO app'. " +
	"Understood are INSERT, REPLACE, UPDATE, DELETE, TRUNCATE, RENAME, GRANT, REVOKE, and CREATE, ALTER and DROP of a DATABASE, TABLE, VIEW, INDEX, " +
	"TRIGGER, EVENT, PROCEDURE, FUNCTION, SEQUENCE, PACKAGE, USER, ROLE, SERVER or TABLESPACE."

// BeforeStatement is before the transaction with the last such statement in the log, of those committed
// before until, unless that is zero: "DROP TABLE shop.orders", "DELETE FROM shop.orders", "DROP DATABASE
// shop". A row change is found by what it does and the table's name. Where a name without its database, or a verb
// without a name, could mean several things, the log is asked, and the target is refused if it has several. The
// error is of kind Usage.
func BeforeStatement(text string, until time.Time) (Target, error) {
	refused := func(why string) (Target, error) {
		return Target{}, fault.New(fault.Usage, "read target statement", text, errors.New(why)).WithHint(understoodStatements)
	}
	d := parse("", text)
	switch {
	case d.verb == "":
		return refused("it is no statement that changes anything by name")
	case len(d.about) > 1:
		return refused("it names several things")
	case len(d.rest) > 0:
		return refused(fmt.Sprintf("it is understood up to %s; what follows is not: %s", d, words(d.rest)))
	case d.grant != nil && len(d.grant.privileges) == 0 && d.grant.on == nil && len(d.grant.who) == 0:
		return refused("it says neither what is granted, nor on what, nor to whom")
	}
	p := &pattern{verb: d.verb, grant: d.grant, until: until}
	if len(d.about) == 1 {
		p.about = d.about[0]
	}
	return Target{kind: beforeStatement, statement: p}, nil
}

// words shows the beginning of what is not understood.
func words(list []sqltext.Token) string {
	const few = 6
	var all []string
	for _, t := range list[:min(few, len(list))] {
		all = append(all, t.Text)
	}
	if len(list) > few {
		all = append(all, "…")
	}
	return strings.Join(all, " ")
}

// String shows what is understood of a statement.
func (d deed) String() string {
	switch {
	case d.grant != nil:
		return strings.TrimSpace(d.verb + " " + d.grant.String())
	case len(d.about) == 0:
		return d.verb
	}
	return d.verb + " " + d.about[0].String()
}

func (p *pattern) String() string {
	d := deed{verb: p.verb, grant: p.grant}
	if p.about.name != "" {
		d.about = []subject{p.about}
	}
	s := d.String()
	if !p.until.IsZero() {
		s += " before " + p.until.UTC().Format(time.RFC3339Nano)
	}
	return s
}

// one reports whether the pattern cannot mean several things, whatever is in the log.
func (p *pattern) one() bool {
	if p.grant != nil {
		return p.grant.on == nil || p.grant.on.db != ""
	}
	kind := p.verb[strings.LastIndex(p.verb, " ")+1:]
	return p.about.name != "" && (p.about.db != "" || kinds[kind])
}

// match returns what of a statement is meant: one thing, in most cases; none if it is not.
func (p *pattern) match(d deed) (list []deed) {
	switch {
	case d.verb != p.verb:
		return nil
	case p.grant != nil:
		if d.grant == nil || !p.grant.means(d.grant) {
			return nil
		}
		return []deed{d}
	case p.about.name == "" && len(d.about) == 0:
		return []deed{d}
	}
	for _, n := range d.about {
		if agree(p.about.name, n.name) && agree(p.about.db, n.db) && agree(p.about.on, n.on) {
			list = append(list, deed{verb: d.verb, about: []subject{n}})
		}
	}
	return list
}

// agree reports whether a name is the one that was asked for, if one was.
func agree(asked, is string) bool { return asked == "" || asked == is }

// mostTokens bounds what is read of a statement: a DROP TABLE may name many tables.
const mostTokens = 4096

// hit is a transaction with a statement that is meant.
type hit struct {
	spot
	transaction *Transaction // What is that statement
}

// hits are the last transactions for each thing that may be meant, by its name.
type hits map[string]hit

// mostHits bounds how many things may be meant: they are asked back for.
const mostHits = 1000

func (all hits) add(d deed, h hit) {
	key := d.String()
	if old, ok := all[key]; ok && old.after(h.spot) || !ok && len(all) >= mostHits {
		return
	}
	all[key] = h
}

// newest are the hits, the last of the log first.
func (all hits) newest() []hit {
	var list []hit
	for _, h := range all {
		list = append(list, h)
	}
	slices.SortFunc(list, func(a, b hit) int {
		if a.after(b.spot) {
			return -1
		}
		if b.after(a.spot) {
			return 1
		}
		return strings.Compare(a.transaction.What, b.transaction.What)
	})
	return list
}

// findStatement finds the last transaction with a statement of the log, reading it from its end.
func (h *history) findStatement(ctx context.Context, t Target) (*found, error) {
	p := t.statement
	end := spot{len(h.segments) - 1, h.last().Source.End}
	if !p.until.IsZero() {
		f, err := h.findTime(ctx, Target{kind: toTime, time: p.until, open: true})
		if err != nil {
			return nil, err
		}
		end = f.spot
	}
	all, maybe := make(hits), make(hits)
	for i := end.i; i >= 0; i-- {
		s := h.segments[i]
		if s.Transactions == 0 {
			continue
		}
		limit := s.Source.End
		if i == end.i {
			limit = end.offset
		}
		if err := h.statementsIn(ctx, i, limit, p, all, maybe); err != nil {
			return nil, err
		}
		if len(all) == 0 && len(maybe) > 0 {
			return nil, h.undecidable(t, maybe.newest())
		}
		if len(all) > 0 && p.one() {
			break
		}
	}
	list := all.newest()
	switch {
	case len(list) > 1 && !(p.grant != nil && p.one()):
		return nil, h.severalMeant(t, list)
	case len(list) > 0:
		return &found{spot: list[0].spot, statement: list[0].transaction}, h.wholeBehind(list[0].i)
	case h.broken != nil:
		return nil, h.broken
	}
	return nil, h.unreachable(t, fmt.Errorf("there is no such statement in the archived log"))
}

// severalMeant refuses a statement that may be one of several things.
func (h *history) severalMeant(t Target, list []hit) error {
	newest, command := list[0].transaction, "tidemark restore "+h.c.Cluster.Name+" --target-dir DIR"
	return fault.New(fault.Unreachable, "plan a restore to", t.String(), fmt.Errorf("the log has it of %d things: %s", len(list), choices(list))).
		WithHint(fmt.Sprintf("Name the one that you mean: `%s --before-statement '%s'`, or the transaction: `%s --before-gtid %s`.",
			command, strings.ReplaceAll(newest.What, "'", `'\''`), command, newest.GTID))
}

// undecidable refuses a REPLACE where the log has the changes of rows, and not the statement that made them.
func (h *history) undecidable(t Target, list []hit) error {
	return fault.New(fault.Unreachable, "plan a restore to", t.String(),
		fmt.Errorf("the log has changes of rows without their statements, and does not tell a REPLACE from other ones: the last ones are %s",
			choices(list))).
		WithHint(fmt.Sprintf("Name the transaction: `tidemark restore %s --target-dir DIR --before-gtid %s`; --dry-run shows what lies around it.",
			h.c.Cluster.Name, list[0].transaction.GTID))
}

// choices shows transactions to choose from.
func choices(list []hit) string {
	const few = 10
	var all []string
	for _, h := range list[:min(few, len(list))] {
		all = append(all, h.transaction.String())
	}
	if n := len(list) - few; n > 0 {
		all = append(all, fmt.Sprintf("and %d more", n))
	}
	return strings.Join(all, "; ")
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

// statementsIn looks for statements in the segment with the index, of transactions that begin before an offset. Into
// maybe go changes of rows that may have been made by it.
func (h *history) statementsIn(ctx context.Context, i int, limit uint64, p *pattern, all, maybe hits) error {
	s := h.segments[i]
	r, err := h.c.OpenSegment(ctx, s)
	if err != nil {
		return err
	}
	defer r.Close()
	look := &look{pattern: p, tables: make(map[uint64]subject)}
	for {
		ev, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case ev.Head || ev.Offset >= s.Source.End:
			continue
		case ev.First && ev.Begin && ev.Offset >= limit:
			return nil
		case ev.First && ev.Begin:
			look.begin(hit{spot{i, ev.Offset}, &Transaction{GTID: ev.GTID.String(), Time: ev.CommitTime()}})
		case ev.First:
			look.see(ev.Type, r.Body(ev))
		}
		if ev.Last && ev.End {
			look.end(all, maybe)
		}
	}
}

// look looks for a statement in one transaction after the other.
type look struct {
	pattern     *pattern
	at          hit
	tables      map[uint64]subject // of the transaction, by their number in it
	said        deed               // the statement that made the changes of rows that follow; none: the log does not have it
	meant, rows []deed
}

func (l *look) begin(at hit) {
	clear(l.tables)
	*l = look{pattern: l.pattern, at: at, tables: l.tables}
}

// see looks at an event.
func (l *look) see(typ binlog.Type, body []byte) bool {
	switch {
	case typ == binlog.TypePayload:
		unpack(body, l.see)
	case typ == binlog.TypeAnnotateRows && l.pattern.verb == replaceVerb:
		l.said = parse("", string(body))
	case typ == typeRowsQuery && len(body) > 0 && l.pattern.verb == replaceVerb:
		l.said = parse("", string(body[1:]))
	case typ == typeTableMap:
		if id, n, ok := tableOf(body); ok {
			l.tables[id] = n
		}
	case rowVerb(typ) != "" && len(body) >= 6:
		l.row(rowVerb(typ), l.tables[tableID(body)])
	case typ == binlog.TypeQuery, typ == binlog.TypeQueryCompressed:
		l.statement(queryWhole(body, 13, typ == binlog.TypeQueryCompressed))
	case typ == binlog.TypeExecuteLoadQuery:
		l.statement(queryWhole(body, 26, false))
	}
	return true
}

func (l *look) statement(db, text string) {
	if d := parse(db, text); d.verb != "" {
		l.meant = append(l.meant, l.pattern.match(d)...)
		l.said = deed{}
	}
}

// row is a change of rows of a table. A REPLACE is not told by it, but by the statement beside it, which need not
// name the database.
func (l *look) row(verb string, table subject) {
	l.meant = append(l.meant, l.pattern.match(deed{verb: verb, about: []subject{table}})...)
	if l.pattern.verb != replaceVerb {
		return
	}
	d := l.pattern.match(deed{verb: replaceVerb, about: []subject{table}})
	switch {
	case len(d) == 0:
	case l.said.verb == "":
		l.rows = append(l.rows, deed{verb: verb, about: []subject{table}})
	case l.said.verb == replaceVerb && len(l.said.about) > 0 && l.said.about[0].name == table.name:
		l.meant = append(l.meant, d...)
	}
}

const (
	replaceVerb = "REPLACE INTO"

	typeRowsQuery binlog.Type = 29
)

// end notes what the transaction has.
func (l *look) end(all, maybe hits) {
	note := func(list []deed, into hits) {
		for _, d := range list {
			tx := *l.at.transaction
			tx.What = d.String()
			into.add(d, hit{l.at.spot, &tx})
		}
	}
	note(l.meant, all)
	note(l.rows, maybe)
	l.meant, l.rows = nil, nil
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
	return tableID(body), subject{db: db, name: table}, ok
}
