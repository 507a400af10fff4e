package restore

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// Target is where a restore stops. The zero value is the end of the archived log.
type Target struct {
	kind  kind
	time  time.Time
	gtids []gtid.GTID // MariaDB: one for each domain, in the order given
	set   *gtid.Set   // MySQL
	point binlog.Point

	statement *pattern

	open bool // a time that the archive does not reach is the end of what it holds
}

type kind int

const (
	toLatest kind = iota
	toTime
	toGTID
	beforeGTID
	toPosition
	beforeStatement
)

// ToLatest is the end of the archived log.
func ToLatest() Target { return Target{} }

// ToTime is before the first transaction, in commit order, whose commit time is at or after t.
// MariaDB records commit times in whole seconds.
func ToTime(t time.Time) Target { return Target{kind: toTime, time: t} }

// ToGTID is after the transaction named, "0-1-100", or with several, "0-1-100,1-2-30", where each is
// the last one of its domain. With a set of MySQL's it is where the log holds that set and nothing else.
// The error is of kind Usage.
func ToGTID(s string) (Target, error) { return parseGTIDs(toGTID, s) }

// BeforeGTID is before the transaction named, or with several, where each is the next one of its
// domain. The error is of kind Usage.
func BeforeGTID(s string) (Target, error) { return parseGTIDs(beforeGTID, s) }

// How GTIDs are to be given.
const (
	mariaNotation = "Give a GTID as domain-server-sequence, 0-1-100, or several of different domains separated by commas."
	mysqlNotation = "Give a GTID as uuid:number, or for a position the whole set, as gtid_executed shows it."
)

func parseGTIDs(k kind, s string) (Target, error) {
	if strings.Contains(s, ":") {
		return parseSet(k, s)
	}
	p, err := gtid.ParsePosition(s)
	if err == nil && len(p) == 0 {
		err = fmt.Errorf("it names no transaction")
	}
	if err != nil {
		return Target{}, fault.New(fault.Usage, "read target GTID", s, err).
			WithHint(mariaNotation)
	}
	list, err := gtid.ParseList(s)
	return Target{kind: k, gtids: list}, err
}

func parseSet(k kind, s string) (Target, error) {
	set, err := gtid.ParseSet(s)
	if err == nil && k == beforeGTID && set.Count() != 1 {
		err = fmt.Errorf("it names %d transactions, and the log can stop before one", set.Count())
	}
	if err != nil {
		return Target{}, fault.New(fault.Usage, "read target GTID", s, err).WithHint(mysqlNotation)
	}
	return Target{kind: k, set: set}, nil
}

// ToPosition is at a place in the source's binlog files, "binlog.000012:4711": the last transaction
// boundary at or before it. The error is of kind Usage.
func ToPosition(s string) (Target, error) {
	file, offset, ok := cutLast(s, ":")
	n, err := strconv.ParseUint(offset, 10, 64)
	if !ok || file == "" || err != nil {
		return Target{}, fault.New(fault.Usage, "read target position", s, err).
			WithHint("Give a position as FILE:OFFSET, binlog.000012:4711.")
	}
	return Target{kind: toPosition, point: binlog.Point{File: path.Base(file), Offset: n}}, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// String says what the target is: "latest", "time …", "gtid …", "before gtid …", "position …",
// "before statement …".
func (t Target) String() string {
	switch t.kind {
	case toTime:
		return "time " + t.time.UTC().Format(time.RFC3339Nano)
	case toGTID:
		return "gtid " + t.names()
	case beforeGTID:
		return "before gtid " + t.names()
	case toPosition:
		return "position " + t.point.String()
	case beforeStatement:
		return "before statement " + t.statement.String()
	}
	return "latest"
}

// names are the GTIDs given.
func (t Target) names() string {
	if t.set != nil {
		return t.set.String()
	}
	return gtid.FormatList(t.gtids)
}

// checkFlavor refuses a target in the notation of another kind of server. The error is of kind Usage.
func (t Target) checkFlavor(f gtid.Flavor) error {
	switch {
	case t.set != nil && f == gtid.MariaDB:
		return fault.New(fault.Usage, "read target GTID", t.set.String(), fmt.Errorf("the cluster is one of MariaDB")).WithHint(mariaNotation)
	case t.gtids != nil && f == gtid.MySQL:
		return fault.New(fault.Usage, "read target GTID", gtid.FormatList(t.gtids), fmt.Errorf("the cluster is one of MySQL")).WithHint(mysqlNotation)
	}
	return nil
}

// precision is that of recorded commit times.
func precision(f gtid.Flavor) time.Duration {
	if f == gtid.MySQL {
		return time.Microsecond
	}
	return time.Second
}
