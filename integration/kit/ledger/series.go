package ledger

import (
	"fmt"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// Series are GTIDs of one writer's own, numbered from 1: on MySQL of a source, half of whose writers may be tagged, on
// MariaDB of a domain.
type Series struct {
	Flavor string // servertest.MariaDB or MySQL
	Writer int
	Tag    string // MySQL: of the source; may be ""
}

// domain is the series' on MariaDB.
func (s Series) domain() int { return 10 + s.Writer }

// GTID is that of a transaction by its number.
func (s Series) GTID(number int64) string {
	if s.Flavor != servertest.MySQL {
		return fmt.Sprintf("%d-%d-%d", s.domain(), kit.PrimaryID, number)
	}
	tag := s.Tag
	if tag != "" {
		tag += ":"
	}
	return fmt.Sprintf("aaaaaaaa-0000-0000-0000-%012d:%s%d", s.Writer, tag, number)
}

// Session is a statement that a session executes once, before the first transaction of the series; "" if there is none.
func (s Series) Session() string {
	if s.Flavor == servertest.MySQL {
		return ""
	}
	return fmt.Sprintf("SET SESSION gtid_domain_id=%d", s.domain())
}

// Next is a statement that gives the session's next transaction its GTID.
func (s Series) Next(number int64) string {
	if s.Flavor == servertest.MySQL {
		return "SET SESSION gtid_next='" + s.GTID(number) + "'"
	}
	return fmt.Sprintf("SET SESSION gtid_seq_no=%d", number)
}
