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
	gtids []gtid.GTID // one for each domain, in the order given
	point binlog.Point
}

type kind int

const (
	toLatest kind = iota
	toTime
	toGTID
	beforeGTID
	toPosition
)

// ToLatest is the end of the archived log.
func ToLatest() Target { return Target{} }

// ToTime is before the first transaction, in commit order, whose commit time is at or after t.
// MariaDB records commit times in whole seconds.
func ToTime(t time.Time) Target { return Target{kind: toTime, time: t} }

// ToGTID is after the transaction named, "0-1-100", or with several, "0-1-100,1-2-30", where each is
// the last one of its domain. The error is of kind Usage.
func ToGTID(s string) (Target, error) { return parseGTIDs(toGTID, s) }

// BeforeGTID is before the transaction named, or with several, where each is the next one of its
// domain. The error is of kind Usage.
func BeforeGTID(s string) (Target, error) { return parseGTIDs(beforeGTID, s) }

func parseGTIDs(k kind, s string) (Target, error) {
	p, err := gtid.ParsePosition(s)
	if err == nil && len(p) == 0 {
		err = fmt.Errorf("it names no transaction")
	}
	if err != nil {
		return Target{}, fault.New(fault.Usage, "read target GTID", s, err).
			WithHint("Give a GTID as domain-server-sequence, 0-1-100, or several of different domains separated by commas.")
	}
	list, err := gtid.ParseList(s)
	return Target{kind: k, gtids: list}, err
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

// String says what the target is: "latest", "time …", "gtid …", "before gtid …", "position …".
func (t Target) String() string {
	switch t.kind {
	case toTime:
		return "time " + t.time.UTC().Format(time.RFC3339Nano)
	case toGTID:
		return "gtid " + gtid.FormatList(t.gtids)
	case beforeGTID:
		return "before gtid " + gtid.FormatList(t.gtids)
	case toPosition:
		return "position " + t.point.String()
	}
	return "latest"
}
