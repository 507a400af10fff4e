package binlog

import (
	"encoding/binary"
	"fmt"
)

// XAPart is what a transaction of MariaDB's log is of an XA transaction.
type XAPart int

// The parts. One that is committed in one phase is none.
const (
	XANone     XAPart = iota
	XAPrepared        // it prepares one
	XAEnded           // it commits or rolls back one that was prepared
)

// ParseXA returns what a MariaDB GTID event's body says of an XA transaction, and the XID of that, as XID forms it.
func ParseXA(body []byte) (part XAPart, xid string, err error) {
	const fixed, commitID = 13, 8
	if len(body) < fixed {
		return XANone, "", fmt.Errorf("GTID event body of %d bytes is too short", len(body))
	}
	flags, rest := body[12], body[fixed:]
	switch {
	case flags&gtidPreparedXA != 0:
		part = XAPrepared
	case flags&gtidCompletedXA != 0:
		part = XAEnded
	default:
		return XANone, "", nil
	}
	if flags&gtidGroupCommitID != 0 {
		rest = rest[min(commitID, len(rest)):]
	}
	const lengths = 6
	if len(rest) < lengths || len(rest) < lengths+int(rest[4])+int(rest[5]) {
		return XANone, "", fmt.Errorf("GTID event body of %d bytes is too short for its XID", len(body))
	}
	gtrid, bqual := int(rest[4]), int(rest[5])
	rest, format := rest[lengths:], binary.LittleEndian.Uint32(rest)
	return part, XID(format, rest[:gtrid], rest[gtrid:gtrid+bqual]), nil
}

// XID writes the name of an XA transaction as statements bear it in the log: X'6162',X'63',1.
func XID(format uint32, gtrid, bqual []byte) string {
	return fmt.Sprintf("X'%x',X'%x',%d", gtrid, bqual, format)
}
