package replica

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"

	"tidemark/internal/fault"
)

// Why a server refused or ended a dump, where that decides what to do next. Errors of Open and
// Next match these with errors.Is.
var (
	// ErrPurged: the binlog files that hold what comes next are gone.
	ErrPurged = errors.New("the binlogs needed were purged")
	// ErrDiverged: the server does not have what we have.
	ErrDiverged = errors.New("the server's history is not the archived one")
	// ErrNoFile: the server has no such binlog file, or it is shorter.
	ErrNoFile = errors.New("the server does not have that binlog position")
	// ErrTorn: a file ends inside an event, as MariaDB leaves it when it is killed. It matches ErrNoFile too.
	ErrTorn = fmt.Errorf("the binlog file ends inside an event: %w", ErrNoFile)
	// ErrDuplicateID: another replica connected with our server ID, and the server dropped us.
	ErrDuplicateID = errors.New("another replica uses our server_id")
)

// refusal sorts a server's error by its code and words.
func refusal(e *ServerError) error {
	f := fault.New(fault.Primary, "read the binlog", "", e)
	has := func(s string) bool { return strings.Contains(e.Message, s) }
	reason := func(r error, hint string) error {
		f.Err = joined{r, e}
		return f.WithHint(hint)
	}
	switch {
	case e.Code == 4052 || e.Code == 1236 && has("same server_uuid/server_id"):
		return reason(ErrDuplicateID, ownID)
	case e.Code != 1236:
		return f
	case has("have been purged") || has("purged required binary logs"):
		return reason(ErrPurged, "Keep binlogs longer on the primary (binlog_expire_logs_seconds).")
	case has("not in the master's binlog") || has("diverged") || has("more GTIDs than the source"):
		return reason(ErrDiverged, "The primary was reset, restored or replaced. If it stays so, its history becomes a timeline of its own (fork_grace).")
	case has("binlog truncated in the middle"):
		return reason(ErrTorn, "The primary's binlogs were reset, or a crash has damaged one.")
	case has("Could not find first log file") || has("impossible position") || has("position > file size") ||
		has("bogus data in log event") || has("log event entry exceeded max_allowed_packet"): // at a place where no event begins; none is so large
		return reason(ErrNoFile, "The primary's binlogs were reset or purged.")
	}
	return f
}

// joined is a reason with the server's own words, on one line.
type joined struct {
	reason error
	server *ServerError
}

func (j joined) Error() string   { return j.reason.Error() + " (" + j.server.Error() + ")" }
func (j joined) Unwrap() []error { return []error{j.reason, j.server} }

// Refused reports whether err is the word of a server that was reached: a wrong password, a missing
// privilege, a setting, a position. Trying again does not mend it.
func Refused(err error) bool {
	var server *ServerError
	var my *mysql.MyError
	var no refused
	switch {
	case errors.As(err, &server):
		return !passing[server.Code]
	case errors.As(err, &my):
		return !passing[my.Code]
	}
	return errors.As(err, &no)
}

// passing are the words of a server that has too many connections, or that starts or stops.
var passing = map[uint16]bool{1040: true, 1053: true, 1077: true, 1079: true, 1152: true, 1158: true, 1159: true, 1160: true, 1161: true,
	1203: true, 1927: true, 3169: true}

// refused marks our own refusal to use a server as it is set up.
type refused string

func (r refused) Error() string { return string(r) }
