package restore

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tidemark/internal/binlog"
)

// Transaction names a transaction to people.
type Transaction struct {
	GTID string    `json:"gtid"`
	Time time.Time `json:"time"` // commit time
	What string    `json:"what"` // its first change: "DROP TABLE `shop`.`orders`"
}

// String returns all of it on a line.
func (t *Transaction) String() string {
	return fmt.Sprintf("%s at %s: %s", t.GTID, t.Time.UTC().Format(time.RFC3339Nano), t.What)
}

// describe copies what is to be kept of a transaction.
func describe(tx transaction) *Transaction {
	return &Transaction{GTID: tx.gtid.String(), Time: tx.time, What: tx.what.String()}
}

// Types of events that say what a transaction changes.
const (
	typeTableMap        binlog.Type = 19
	typeRowsV1          binlog.Type = 23 // write, update, delete; the same order in the others
	typeRowsV2          binlog.Type = 30
	typeRowsCompressed1 binlog.Type = 166
	typeRowsCompressed2 binlog.Type = 169
)

// summary remembers the first change of a transaction, in memory that is used again. It shows verbs
// and names only: a statement may hold a password.
type summary struct {
	typ    binlog.Type // of the first change; 0: none yet
	body   []byte      // of a statement, its beginning; of a row change, the table's map
	mapped bool
}

// keep is how much of an event is remembered, in bytes.
const keep = 1024

func (s *summary) reset() { s.typ, s.body, s.mapped = 0, s.body[:0], false }

// set makes s a copy of t.
func (s *summary) set(t *summary) {
	s.typ, s.mapped = t.typ, t.mapped
	s.body = append(s.body[:0], t.body...)
}

// observe looks at an event of the transaction other than its GTID.
func (s *summary) observe(typ binlog.Type, body []byte) {
	switch {
	case typ == binlog.TypeQuery || typ == binlog.TypeQueryCompressed || typ == binlog.TypeExecuteLoadQuery:
		if s.typ == 0 && !(typ == binlog.TypeQuery && opens(body)) {
			s.typ, s.body = typ, append(s.body[:0], body[:min(len(body), keep)]...)
		}
	case typ == binlog.TypePayload:
		unpack(body, func(typ binlog.Type, body []byte) bool {
			s.observe(typ, body)
			return s.typ == 0
		})
	case typ == typeTableMap:
		if s.typ == 0 && !s.mapped {
			s.mapped, s.body = true, append(s.body[:0], body[:min(len(body), keep)]...)
		}
	case rowVerb(typ) != "":
		if s.typ == 0 {
			s.typ = typ
		}
	}
}

// opens reports whether a statement is one with which MySQL's transactions begin.
func opens(body []byte) bool {
	_, text := queryText(body, 13, false)
	return text == "BEGIN" || strings.HasPrefix(text, "XA START ")
}

func rowVerb(typ binlog.Type) string {
	verbs := [...]string{"INSERT INTO", "UPDATE", "DELETE FROM"}
	for _, first := range []binlog.Type{typeRowsV1, typeRowsV2, typeRowsCompressed1, typeRowsCompressed2} {
		if typ >= first && typ < first+3 {
			return verbs[typ-first]
		}
	}
	return ""
}

// String renders the first change.
func (s *summary) String() string {
	switch {
	case s.typ == 0:
		return "no change"
	case s.typ == binlog.TypeQuery, s.typ == binlog.TypeQueryCompressed:
		return statement(queryText(s.body, 13, s.typ == binlog.TypeQueryCompressed))
	case s.typ == binlog.TypeExecuteLoadQuery:
		return statement(queryText(s.body, 26, false))
	}
	return rowVerb(s.typ) + " " + tableName(s.body)
}

// tableName reads the database and the table of a table map.
func tableName(body []byte) string {
	_, s, ok := tableOf(body)
	if !ok {
		return "a table"
	}
	return quote(s.db) + "." + quote(s.name)
}

func counted(b []byte) (s string, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return "", nil, false
	}
	n := 1 + int(b[0])
	return string(b[1:n]), b[n:], true
}

func quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// unquote is the inverse of quote; names may also be unquoted, in double quotes, or cut off.
func unquote(name string) string {
	if q := name[:1]; q == "`" || q == `"` {
		name = strings.TrimSuffix(name[1:], q)
		return strings.ReplaceAll(name, q+q, q)
	}
	return name
}

// queryText returns the default database and the text, perhaps cut off, of a statement whose event
// has a fixed part of so many bytes.
func queryText(body []byte, fixed int, compressed bool) (db, text string) {
	return queryOf(body, fixed, compressed, keep)
}

// queryWhole is queryText with all of the text, or, of a compressed one, as much as may be of interest.
func queryWhole(body []byte, fixed int, compressed bool) (db, text string) {
	return queryOf(body, fixed, compressed, 256<<10)
}

func queryOf(body []byte, fixed int, compressed bool, most int) (db, text string) {
	if len(body) < fixed {
		return "", ""
	}
	dbLen := int(body[8])
	at := fixed + int(binary.LittleEndian.Uint16(body[11:]))
	if len(body) < at+dbLen+1 {
		return "", ""
	}
	raw := body[at+dbLen+1:]
	if compressed {
		raw = binlog.Inflate(raw, most)
	}
	return string(body[at : at+dbLen]), string(raw)
}

// statement renders the verb of a statement and the name of what it is about, qualified with the
// default database.
func statement(db, text string) string {
	if text == "" {
		return "a statement"
	}
	if d := parse(db, text); defined[d.verb] {
		return d.String()
	}
	words := tokens(text, 16)
	if len(words) == 0 {
		return "a statement"
	}
	verb := []string{strings.ToUpper(words[0])}
	i := 1
	for ; i < len(words) && filler[strings.ToUpper(words[i])]; i++ {
		if w := strings.ToUpper(words[i]); !silent[w] {
			verb = append(verb, w)
		}
	}
	out := strings.Join(verb, " ")
	if !named[verb[0]] || i >= len(words) || !nameStart(words[i]) {
		return out
	}
	last := verb[len(verb)-1]
	if last == "USER" || last == "ROLE" || verb[0] == "GRANT" || verb[0] == "REVOKE" {
		return out
	}
	name := quote(unquote(words[i]))
	switch {
	case i+2 < len(words) && words[i+1] == ".":
		name += "." + quote(unquote(words[i+2]))
	case db != "" && last != "DATABASE" && last != "SCHEMA" && last != "INDEX":
		name = quote(db) + "." + name
	}
	return out + " " + name
}

// Words between a statement's verb and its name; those that are silent are not shown.
var (
	filler = set("OR REPLACE TEMPORARY TABLE TABLES DATABASE SCHEMA VIEW INDEX UNIQUE FULLTEXT SPATIAL TRIGGER PROCEDURE FUNCTION " +
		"AGGREGATE EVENT SEQUENCE USER ROLE IF NOT EXISTS INTO FROM IGNORE LOW_PRIORITY DELAYED HIGH_PRIORITY ONLINE DATA INFILE " +
		"COMMIT ROLLBACK START END PREPARE")
	silent = set("IF NOT EXISTS OR REPLACE IGNORE LOW_PRIORITY DELAYED HIGH_PRIORITY ONLINE")
	named  = set("CREATE ALTER DROP TRUNCATE RENAME INSERT REPLACE UPDATE DELETE ANALYZE OPTIMIZE REPAIR")
)

// defined are the verbs that a DEFINER and the like may follow, of which tokens knows nothing.
var defined = map[string]bool{"CREATE TRIGGER": true, "CREATE VIEW": true, "CREATE EVENT": true, "CREATE PROCEDURE": true, "CREATE FUNCTION": true,
	"ALTER VIEW": true, "ALTER EVENT": true}

func set(words string) map[string]bool {
	m := make(map[string]bool)
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}

func nameStart(word string) bool {
	r, _ := utf8.DecodeRuneInString(word)
	return r == '`' || r == '"' || r == '_' || r == '$' || unicode.IsLetter(r) || unicode.IsDigit(r)
}

// tokens splits the beginning of a statement into words, quoted names and single characters, without
// comments; what follows a string literal is of no interest.
func tokens(text string, most int) []string {
	var list []string
	for len(text) > 0 && len(list) < most {
		text = strings.TrimLeftFunc(text, unicode.IsSpace)
		switch {
		case text == "" || text[0] == '\'':
			return list
		case strings.HasPrefix(text, "/*"):
			_, rest, ok := strings.Cut(text, "*/")
			if !ok {
				return list
			}
			text = rest
			continue
		case text[0] == '#' || strings.HasPrefix(text, "-- "):
			_, text, _ = strings.Cut(text, "\n")
			continue
		}
		n := wordLen(text)
		list = append(list, text[:n])
		text = text[n:]
	}
	return list
}

// wordLen is the length of the word, quoted name or single character that text begins with.
func wordLen(text string) int {
	if q := text[0]; q == '`' || q == '"' {
		for i := 1; i < len(text); i++ {
			if text[i] != q {
				continue
			}
			if i+1 == len(text) || text[i+1] != q {
				return i + 1
			}
			i++ // a doubled quote stands for itself
		}
		return len(text)
	}
	end := strings.IndexFunc(text, func(r rune) bool {
		return r != '_' && r != '$' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	switch {
	case end < 0:
		return len(text)
	case end == 0:
		_, n := utf8.DecodeRuneInString(text)
		return n
	}
	return end
}
