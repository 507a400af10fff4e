// Package barrier finds what no server can replay in a binlog: events and statements that say that something happened, and do
// not hold what. A restore from a base backup before one cannot get past it, nor can a replica.
package barrier

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode"

	"tidemark/internal/binlog"
	"tidemark/internal/sqltext"
)

// Kind is why something cannot be replayed.
type Kind string

// The kinds of barriers.
const (
	// Incident: the server says that it has changed something that it could not write to its binlog.
	Incident Kind = "incident"
	// Import: files that only the server had became a table, or a part of one.
	Import Kind = "import"
)

// Find returns which barrier an event is, with what it says, for people; "" if it is none. The event is a first
// fragment, and body what it holds.
func Find(ev *binlog.Event, body []byte) (kind Kind, what string) {
	switch ev.Type {
	case binlog.TypeIncident:
		return Incident, shown("incident: " + incident(body))
	case binlog.TypeQuery, binlog.TypeQueryCompressed:
		db, text, err := binlog.Statement(ev.Type, body, most)
		if err == nil && mayImport(text) && imports(string(text)) {
			return Import, shown(about(string(db), string(text)))
		}
	}
	return "", ""
}

// incident reads the message of an INCIDENT event: a number of two bytes, and a text with its length in front.
func incident(body []byte) string {
	const lostEvents = 1
	text := "the server has written no details"
	if len(body) >= 3 && len(body) >= 3+int(body[2]) && body[2] > 0 {
		text = string(body[3 : 3+int(body[2])])
	}
	if len(body) >= 2 && binary.LittleEndian.Uint16(body) == lostEvents {
		return "events were lost: " + text
	}
	return text
}

// most is how much of a statement is looked at, in bytes and in words.
const (
	most      = 64 << 10
	mostWords = 4096
)

// mayImport is a quick look at the bytes of a statement, most of which are something else.
func mayImport(text []byte) bool {
	text = bytes.TrimLeftFunc(text[:min(len(text), most)], unicode.IsSpace)
	if len(text) == 0 || !strings.ContainsRune("aAiIsS/-#", rune(text[0])) {
		return false
	}
	return bytes.Contains(bytes.ToUpper(text), []byte("IMPORT"))
}

// imports reports whether a statement is ALTER TABLE … IMPORT [PARTITION …] TABLESPACE, or IMPORT TABLE FROM, which MySQL to 9.7 does not log.
func imports(text string) bool {
	list := sqltext.WithoutSettings(sqltext.Lex(text, mostWords))
	word := func(i int, want ...string) bool {
		if i < 0 || i >= len(list) || list[i].Kind != sqltext.Word {
			return false
		}
		for _, w := range want {
			if strings.EqualFold(list[i].Text, w) {
				return true
			}
		}
		return false
	}
	if word(0, "IMPORT") {
		return word(1, "TABLE")
	}
	for len(list) > 0 && list[len(list)-1] == (sqltext.Token{Kind: sqltext.Symbol, Text: ";"}) {
		list = list[:len(list)-1]
	}
	table := 1
	for word(table, "ONLINE", "OFFLINE", "IGNORE") {
		table++
	}
	if !word(0, "ALTER") || !word(table, "TABLE") || !word(len(list)-1, "TABLESPACE") {
		return false
	}
	// What stands before it names the table, and MariaDB's IF EXISTS, WAIT and NOWAIT.
	for i := table + 2; i < len(list)-1; i++ {
		if word(i, "IMPORT") && (i == len(list)-2 || word(i+1, "PARTITION")) && !word(i-1, "ADD", "DROP", "CHANGE", "MODIFY", "COLUMN") {
			return true
		}
	}
	return false
}

// about renders the statement for people: its words, without literals.
func about(db, text string) string {
	var b strings.Builder
	for i, t := range sqltext.Lex(text, 64) {
		if t.Text == ";" {
			continue
		}
		dot := t == sqltext.Token{Kind: sqltext.Symbol, Text: "."}
		if i > 0 && !dot && !strings.HasSuffix(b.String(), ".") && t.Text != "," {
			b.WriteByte(' ')
		}
		switch t.Kind {
		case sqltext.Name:
			b.WriteString("`" + strings.ReplaceAll(t.Text, "`", "``") + "`")
		case sqltext.Literal:
			b.WriteString("'…'")
		default:
			b.WriteString(t.Text)
		}
	}
	if db != "" {
		b.WriteString(" (in " + db + ")")
	}
	return b.String()
}

// mostShown bounds what is kept of a barrier's text, in bytes.
const mostShown = 300

// shown makes text of a server printable and short.
func shown(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > mostShown {
		text = strings.ToValidUTF8(text[:mostShown], "") + "…"
	}
	return text
}
