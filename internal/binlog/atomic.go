package binlog

import (
	"bytes"
	"encoding/binary"

	"tidemark/internal/gtid"
)

// Atomic reports whether a server that applies a transaction and is killed meanwhile holds all of it
// afterwards or nothing, and its GTID with it. What tells is the event that begins the transaction on
// MariaDB, and the one that ends it on MySQL; of all others nothing is known, and it returns true. A
// transaction that uses temporary tables needs what came before it as well: the one that makes them is
// not atomic, because they are lost.
//
// body is that of the event's first fragment.
func Atomic(ev *Event, body []byte) bool {
	switch {
	case !ev.First:
		return true
	case ev.Type == TypeMariaGTID:
		return atomicMariaDB(body)
	case ev.End && ev.GTID.UUID != gtid.UUID{}:
		return atomicMySQL(ev.Type, body)
	}
	return true
}

// atomicMariaDB: only what can be rolled back. Definitions are not: they are done before their GTID is
// recorded. Neither are the halves of an XA transaction, whose GTID is recorded by a transaction of its own.
func atomicMariaDB(body []byte) bool {
	return len(body) > 12 && body[12]&(gtidTransactional|gtidDDL|gtidPreparedXA|gtidCompletedXA) == gtidTransactional
}

// atomicMySQL: what ends with an XID or in an XA transaction, what was compressed (only such is), and
// definitions that carry the number of the storage engine's transaction. Not those of databases: their
// directories are made and removed apart.
func atomicMySQL(typ Type, body []byte) bool {
	if typ != TypeQuery {
		return typ == TypeXID || typ == TypeXAPrepare || typ == TypePayload
	}
	_, text, err := queryText(body)
	if err != nil {
		return false
	}
	if bytes.HasPrefix(text, []byte("XA COMMIT")) || bytes.HasPrefix(text, []byte("XA ROLLBACK")) {
		return true
	}
	words := bytes.Fields(text[:min(len(text), 200)])
	if len(words) < 2 || !letters(words[0]) || bytes.IndexByte([]byte("/-#"), words[1][0]) >= 0 { // a comment hides what it is
		return false
	}
	object := string(bytes.ToUpper(words[1]))
	return object != "DATABASE" && object != "SCHEMA" && hasEngineXID(body)
}

func letters(word []byte) bool {
	for _, c := range word {
		if c|0x20 < 'a' || c|0x20 > 'z' {
			return false
		}
	}
	return true
}

// Status variables of a QUERY event of MySQL: a code and a value. Those not listed have the length of
// their value before it, or two such, or are a list of names.
const (
	statusTimeZone  = 5
	statusCatalog   = 6
	statusInvoker   = 11
	statusDatabases = 12
	statusEngineXID = 17
)

var statusLength = map[byte]int{0: 4, 1: 8, 3: 4, 4: 6, 7: 2, 8: 2, 9: 8, 10: 4, 13: 3, 16: 1, 18: 2, 19: 1, 20: 1}

// hasEngineXID reports whether a statement carries the number of the storage engine's transaction that
// makes it atomic. With a variable that is not known the answer is no.
func hasEngineXID(body []byte) bool {
	const fixed = 13
	length := int(binary.LittleEndian.Uint16(body[11:]))
	if len(body) < fixed+length {
		return false
	}
	vars := body[fixed : fixed+length]
	for len(vars) > 0 {
		code := vars[0]
		vars = vars[1:]
		n, known := statusLength[code]
		switch {
		case code == statusEngineXID:
			return true
		case known:
		case code == statusTimeZone || code == statusCatalog:
			n = counted(vars)
		case code == statusInvoker:
			n = counted(vars)
			n += counted(vars[min(n, len(vars)):])
		case code == statusDatabases:
			n = databases(vars)
		default:
			return false
		}
		if n > len(vars) {
			return false
		}
		vars = vars[n:]
	}
	return false
}

// counted is the length of a text with its own before it.
func counted(b []byte) int {
	if len(b) == 0 {
		return 1
	}
	return 1 + int(b[0])
}

// databases is the length of a list of names: their number, and each with a NUL behind it. There are none
// when there would be too many.
func databases(b []byte) int {
	const tooMany = 254
	if len(b) == 0 || b[0] == tooMany {
		return 1
	}
	n := 1
	for range b[0] {
		i := bytes.IndexByte(b[min(n, len(b)):], 0)
		if i < 0 {
			return len(b) + 1
		}
		n += i + 1
	}
	return n
}
