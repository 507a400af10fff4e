// Package zone carries the time zone of a server's machine to another machine. The binlog has the name SYSTEM
// where a session had no other time zone, and a server tells of its machine's only an abbreviation, which
// means several. So the server is asked what time it was at many instants; from its answers a file is made
// as the C library reads it (TZ=:/path), which needs no time zone data there.
package zone

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	last       = 1<<31 - 1      // the last second that all servers know
	step       = 10 * 24 * 3600 // between two changes of a clock lie more
	maxOffset  = 26 * 3600      // from UTC, in seconds
	maxChanges = 250            // no zone has so many; each may be of another offset, which a byte numbers
	maxAnswers = 500            // in one query
)

// Zone says how a machine's clock differs from UTC, from 1970 to 2038.
type Zone struct {
	first   int // seconds east of UTC, before the first change
	changes []change
}

// change is an instant, in seconds since 1970, at which the clock is set to another offset.
type change struct {
	at     int64
	offset int
}

// Query executes a query and returns the columns of its one row.
type Query func(sql string) ([]string, error)

// Ask finds out the zone of a server's machine by some 30 short queries. The session's time_zone must be SYSTEM.
func Ask(query Query) (Zone, error) {
	var instants []int64
	for at := int64(1); at < last; at += step { // MariaDB 11.8 has no time at 0
		instants = append(instants, at)
	}
	instants = append(instants, last)
	offsets, err := ask(query, instants)
	if err != nil {
		return Zone{}, err
	}
	var spans []span
	for i := 1; i < len(instants); i++ {
		if offsets[i] != offsets[i-1] {
			spans = append(spans, span{instants[i-1], instants[i], offsets[i-1], offsets[i]})
		}
	}
	if err := narrow(query, spans); err != nil {
		return Zone{}, err
	}
	z := Zone{first: offsets[0]}
	for _, s := range spans {
		z.changes = append(z.changes, change{at: s.to, offset: s.after})
	}
	return z, nil
}

// span is a time in which the offset changes once.
type span struct {
	from, to      int64
	before, after int
}

// narrow halves all spans until each is a second.
func narrow(query Query, spans []span) error {
	for width := int64(step); width > 1 && len(spans) > 0; width = (width + 1) / 2 {
		middles := make([]int64, len(spans))
		for i, s := range spans {
			middles[i] = s.from + (s.to-s.from)/2
		}
		offsets, err := ask(query, middles)
		if err != nil {
			return err
		}
		for i, at := range middles {
			switch s := &spans[i]; {
			case s.to-s.from <= 1:
			case offsets[i] == s.before:
				s.from = at
			case offsets[i] == s.after:
				s.to = at
			default:
				return fmt.Errorf("ask the server for its time zone: its clock changes more than once between %d and %d", s.from, s.to)
			}
		}
	}
	return nil
}

// ask returns the offsets at some instants.
func ask(query Query, instants []int64) ([]int, error) {
	offsets := make([]int, 0, len(instants))
	for len(instants) > 0 {
		n := min(len(instants), maxAnswers)
		var sql strings.Builder
		sql.WriteString("SELECT ")
		for i, at := range instants[:n] {
			if i > 0 {
				sql.WriteByte(',')
			}
			fmt.Fprintf(&sql, "FROM_UNIXTIME(%d)", at)
		}
		row, err := query(sql.String())
		if err != nil {
			return nil, err
		}
		if len(row) != n {
			return nil, fmt.Errorf("ask the server for its time zone: %d answers to %d questions", len(row), n)
		}
		for i, text := range row {
			local, err := time.Parse(time.DateTime, text)
			if err != nil {
				return nil, fmt.Errorf("ask the server for its time zone: %w", err)
			}
			offset := local.Unix() - instants[i]
			if offset < -maxOffset || offset > maxOffset {
				return nil, fmt.Errorf("ask the server for its time zone: it says that %d is %s", instants[i], text)
			}
			offsets = append(offsets, int(offset))
		}
		instants = instants[n:]
	}
	return offsets, nil
}

// String is the zone in one line, "3600 323830800+7200 338950800+3600": the first offset, then each change as
// its instant and the offset from then on. Parse reads it.
func (z Zone) String() string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(z.first))
	for _, c := range z.changes {
		fmt.Fprintf(&b, " %d%+d", c.at, c.offset)
	}
	return b.String()
}

// Parse reads what String wrote. It takes nothing that Ask does not give.
func Parse(text string) (Zone, error) {
	z, err := parse(text)
	if err != nil {
		return Zone{}, fmt.Errorf("recorded time zone: %w", err)
	}
	return z, nil
}

func parse(text string) (z Zone, err error) {
	fields := strings.Fields(text)
	if len(fields) == 0 || len(fields) > maxChanges {
		return z, fmt.Errorf("it has %d fields", len(fields))
	}
	if z.first, err = parseOffset(fields[0]); err != nil {
		return z, err
	}
	previous := int64(0)
	for _, field := range fields[1:] {
		sign := strings.IndexAny(field, "+-")
		if sign <= 0 {
			return z, fmt.Errorf("%q is no change", field)
		}
		c := change{}
		if c.at, err = strconv.ParseInt(field[:sign], 10, 32); err != nil {
			return z, err
		}
		if c.offset, err = parseOffset(field[sign:]); err != nil {
			return z, err
		}
		if c.at <= previous {
			return z, errors.New("its changes are not in order")
		}
		previous = c.at
		z.changes = append(z.changes, c)
	}
	return z, nil
}

func parseOffset(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < -maxOffset || n > maxOffset {
		return 0, fmt.Errorf("%q is no offset", text)
	}
	return n, nil
}

// UTC tells whether the clock is always UTC's.
func (z Zone) UTC() bool { return z.first == 0 && len(z.changes) == 0 }

// File is the zone as a file of the C library (TZif, version 1). name is its abbreviation, "CET".
func (z Zone) File(name string) []byte {
	offsets := []int{z.first}
	index := map[int]byte{z.first: 0}
	kinds := make([]byte, len(z.changes))
	for i, c := range z.changes {
		k, ok := index[c.offset]
		if !ok {
			k = byte(len(offsets))
			index[c.offset] = k
			offsets = append(offsets, c.offset)
		}
		kinds[i] = k
	}
	file := append([]byte("TZif"), make([]byte, 16)...)
	for _, n := range []int{0, 0, 0, len(z.changes), len(offsets), len(name) + 1} {
		file = binary.BigEndian.AppendUint32(file, uint32(n))
	}
	for _, c := range z.changes {
		file = binary.BigEndian.AppendUint32(file, uint32(c.at))
	}
	file = append(file, kinds...)
	for _, offset := range offsets {
		file = binary.BigEndian.AppendUint32(file, uint32(int32(offset)))
		file = append(file, 0, 0) // no daylight saving time is told from standard time; the name
	}
	return append(append(file, name...), 0)
}
