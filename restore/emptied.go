package restore

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"tidemark/internal/binlog"
	"tidemark/internal/sqltext"
)

// Some tables have rows on the primary and none on the private server: those of the engine MEMORY, whose rows no server keeps
// over a restart, and those that the base backup is known to hold empty. The log changes rows of theirs that are not there,
// which would end the restore. So the changes of rows of such a table are passed over, and no others, until the log makes or
// empties it anew: from then on both servers have the same rows again.
//
// They are passed over as a replica does it with a filter: the private server ignores a database of a name that nothing has, and
// the events that say which table is changed are given that name. Statements, definitions above all, are applied as they are.

// emptied follows which tables these are at a place of the log.
type emptied struct {
	told   chan []subject // the server's, which it had lost when it started: once, where it was started for this feed
	lost   []subject      // those, until the first transaction that the server does not have
	tables map[subject]bool
	fold   bool            // names of tables are the same in capitals
	noted  map[string]bool // what has been said
}

func newEmptied(at []tableRef, fold bool) emptied {
	e := emptied{told: make(chan []subject, 1), tables: map[subject]bool{}, fold: fold, noted: map[string]bool{}}
	for _, t := range at {
		e.tables[e.key(t.DB, t.Name)] = true
	}
	return e
}

// tableRef is a table in a file of ours.
type tableRef struct {
	DB   string `json:"db"`
	Name string `json:"name"`
}

// list are the tables, in order.
func (e *emptied) list() []tableRef {
	var list []tableRef
	for t := range e.tables {
		list = append(list, tableRef{t.db, t.name})
	}
	for _, t := range e.lost {
		if !e.tables[t] {
			list = append(list, tableRef{t.db, t.name})
		}
	}
	slices.SortFunc(list, func(a, b tableRef) int { return strings.Compare(a.String(), b.String()) })
	return list
}

// String shows it as a statement would name it.
func (t tableRef) String() string { return qualified(t.DB, t.Name) }

func (e *emptied) key(db, name string) subject {
	if e.fold {
		db, name = strings.ToLower(db), strings.ToLower(name)
	}
	return subject{db: db, name: name}
}

func (e *emptied) has(t subject) bool { return e.tables[e.key(t.db, t.name)] }

// learn waits for the server's word of what it has lost.
func (e *emptied) learn(ctx context.Context) error {
	if e.told == nil {
		return nil
	}
	select {
	case list := <-e.told:
		e.told = nil
		for _, t := range list {
			e.lost = append(e.lost, e.key(t.db, t.name))
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reached: the log has come to what the server does not have, and so what that had lost counts. Before, the log may still make
// such a table.
func (e *emptied) reached() {
	for _, t := range e.lost {
		e.tables[t] = true
	}
	e.lost = nil
}

// followEmptied looks at an event of the log: a statement may make a table anew, and what begins to change the rows of one that has lost
// them is returned as it is written.
func (f *feed) followEmptied(ev *binlog.Event, body []byte, format *binlog.FormatDescription) (*binlog.Event, error) {
	isQuery := ev.Type == binlog.TypeQuery || ev.Type == binlog.TypeQueryCompressed
	if !ev.First || !isQuery && ev.Type != typeTableMap && ev.Type != binlog.TypePayload || f.hollow || f.plan.excluded[f.pending] {
		return ev, nil
	}
	held := f.skipping || f.holds()
	if !held {
		f.emptied.reached()
	}
	if len(f.emptied.tables) == 0 {
		return ev, nil
	}
	if isQuery {
		db, text := queryWhole(body, 13, ev.Type == binlog.TypeQueryCompressed)
		if t, reads := f.emptied.statement(db, text); reads && !held {
			f.noteRead(ev.GTID.String(), t)
		}
		return ev, nil
	}
	if held || ev.Type != typeTableMap { // see followPacked
		return ev, nil
	}
	return f.passOverRows(ev, body, format)
}

// passOverRows gives the event that names a table which has lost its rows the name that the server ignores.
func (f *feed) passOverRows(ev *binlog.Event, body []byte, format *binlog.FormatDescription) (*binlog.Event, error) {
	_, s, ok := tableOf(body)
	if !ok || !f.emptied.has(s) {
		return ev, nil
	}
	if !ev.Last {
		return nil, fmt.Errorf("transaction %s: the event that names table %s is larger than the buffer", ev.GTID, s)
	}
	data, err := binlog.RewriteTableMap(ev.Data, f.ignored, format.Checksum)
	if err != nil {
		return nil, fmt.Errorf("transaction %s: %w", ev.GTID, err)
	}
	f.noteEmptied("changes of rows of %s are passed over: the server that applies the log has lost the rows that it had", s)
	other := *ev
	other.Data, other.Size = data, uint32(len(data))
	return &other, nil
}

// noteRead says that a statement may not write what it did.
func (f *feed) noteRead(gtid string, t subject) {
	f.noteEmptied("transaction %s reads %s by a statement, and finds other rows there than it did: what it writes may differ", gtid, t)
}

// noteEmptied lets something be said with the batch, once.
func (f *feed) noteEmptied(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !f.emptied.noted[text] && len(f.emptied.noted) < mostNoted {
		f.emptied.noted[text] = true
		f.now.notes = append(f.now.notes, text)
	}
}

// mostNoted bounds what is said: a log of statements may read such a table in each transaction.
const mostNoted = 100

// statement follows what a statement does to the tables, and reports whether it reads one of them to write
// elsewhere.
func (e *emptied) statement(db, text string) (read subject, reads bool) {
	r := statementReader(db, text, mostTokens)
	all := r.list
	switch r.peek() {
	case "CREATE":
		return e.create(r)
	case "ALTER":
		e.alter(r)
	case "RENAME":
		e.rename(r)
	case "DROP":
		e.drop(statementReader(db, text, math.MaxInt))
	case "TRUNCATE":
		r.take("TRUNCATE")
		r.take("TABLE")
		e.forget(r.one()...)
	case "DELETE":
		return e.deleted(db, r)
	case "INSERT", "REPLACE", "UPDATE", "LOAD", "SELECT", "DO", "CALL", "WITH":
		return e.reads(db, all)
	}
	return read, false
}

// statementReader reads a statement.
func statementReader(db, text string, most int) *reader {
	return &reader{db, sqltext.WithoutSettings(sqltext.Lex(text, most))}
}

// forget: the tables are what they are on the primary.
func (e *emptied) forget(list ...subject) {
	for _, t := range list {
		delete(e.tables, e.key(t.db, t.name))
	}
}

// create: what is made is new, but where it may be there already. It may be filled with what another one holds.
func (e *emptied) create(r *reader) (read subject, reads bool) {
	r.take("CREATE")
	isNew := true
	replaces := r.take("OR") && r.take("REPLACE")
	if r.take("TEMPORARY") {
		isNew = false
	}
	if !r.take("TABLE", "SEQUENCE") {
		return read, false
	}
	if r.take("IF") {
		r.take("NOT")
		r.take("EXISTS")
		isNew = isNew && replaces
	}
	made, ok := r.subject()
	if ok && isNew {
		e.forget(made)
	}
	if !slices.ContainsFunc(r.list, func(t sqltext.Token) bool { return t.Kind == sqltext.Word && strings.EqualFold(t.Text, "SELECT") }) {
		return read, false
	}
	return e.reads(r.db, r.list)
}

// alter: a table that gets another engine has lost its rows for good. It may be renamed.
func (e *emptied) alter(r *reader) {
	r.take("ALTER")
	for r.take("ONLINE", "OFFLINE", "IGNORE") {
	}
	if !r.take("TABLE") {
		return
	}
	if r.take("IF") {
		r.take("EXISTS")
	}
	from, ok := r.subject()
	if !ok {
		return
	}
	for len(r.list) > 0 {
		if !r.take("RENAME") {
			r.list = r.list[1:]
			continue
		}
		if slices.Contains([]string{"COLUMN", "INDEX", "KEY"}, r.peek()) {
			continue
		}
		if !r.take("TO", "AS") {
			r.is("=")
		}
		if to, ok := r.subject(); ok {
			e.move(from, to)
		}
		return
	}
}

// rename moves what is known of tables to their new names, one after the other.
func (e *emptied) rename(r *reader) {
	r.take("RENAME")
	if !r.take("TABLE", "TABLES") {
		return
	}
	if r.take("IF") {
		r.take("EXISTS")
	}
	for {
		from, ok := r.subject()
		for r.take("WAIT", "NOWAIT") || len(r.list) > 1 && r.peek() != "TO" {
			r.list = r.list[1:]
		}
		if !ok || !r.take("TO") {
			return
		}
		to, ok := r.subject()
		if !ok {
			return
		}
		e.move(from, to)
		if !r.is(",") {
			return
		}
	}
}

func (e *emptied) move(from, to subject) {
	if old := e.key(from.db, from.name); e.tables[old] {
		delete(e.tables, old)
		e.tables[e.key(to.db, to.name)] = true
	}
}

// drop: tables that are dropped are gone, however many a statement names.
func (e *emptied) drop(r *reader) {
	r.take("DROP")
	if r.take("DATABASE", "SCHEMA") {
		if r.take("IF") {
			r.take("EXISTS")
		}
		name, _ := r.identifier()
		gone := e.key(name, "")
		maps.DeleteFunc(e.tables, func(t subject, _ bool) bool { return t.db == gone.db })
		return
	}
	if !r.take("TABLE", "TABLES", "SEQUENCE") {
		return
	}
	if r.take("IF") {
		r.take("EXISTS")
	}
	e.forget(r.subjects()...)
}

// deleted: a server that was restarted empties each table that has lost its rows, and says so in its log.
func (e *emptied) deleted(db string, r *reader) (subject, bool) {
	all := r.list
	r.take("DELETE")
	if r.take("FROM") {
		if t, ok := r.subject(); ok && (len(r.list) == 0 || r.is(";")) {
			e.forget(t)
			return subject{}, false
		}
	}
	return e.reads(db, all)
}

// reads reports whether a statement names one of the tables but as the only one that it writes to.
func (e *emptied) reads(db string, list []sqltext.Token) (read subject, reads bool) {
	writes := (&reader{db, list}).target()
	for i, t := range list {
		if t.Kind != sqltext.Word && t.Kind != sqltext.Name {
			continue
		}
		in := db
		if i > 1 && list[i-1] == (sqltext.Token{Kind: sqltext.Symbol, Text: "."}) {
			in = list[i-2].Text
		}
		found := e.key(in, t.Text)
		if e.tables[found] && (writes == nil || e.key(writes.db, writes.name) != found) {
			return found, true
		}
	}
	return read, false
}

// target is the table that a statement writes to, if that is the only one.
func (r *reader) target() *subject {
	verb := r.peek()
	r.take(verb)
	for r.take("LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "QUICK", "INTO", "FROM") {
	}
	s, ok := r.subject()
	if !ok || verb == "UPDATE" && r.peek() != "SET" || verb == "DELETE" && r.peek() != "WHERE" {
		return nil
	}
	if verb != "UPDATE" && verb != "DELETE" && verb != "INSERT" && verb != "REPLACE" {
		return nil
	}
	return &s
}
