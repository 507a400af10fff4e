package workload

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
)

// Checkpoint is what the server held at a moment when no transaction was under way. A copy of
// the server restored to that moment holds the same: see Compare.
type Checkpoint struct {
	Name    string
	GTIDPos string    // @@gtid_binlog_pos; "" if nothing was written yet. On MySQL @@gtid_executed, in one line
	File    string    // the binlog being written
	Pos     int64     // its end
	Time    time.Time // by the server's clock, in UTC; see CheckpointAt
	Objects map[string]Object
	Events  map[string]string // status of each event, by "event schema.name": "ENABLED", …; see CompareEvents
}

// Object is a table, sequence, view, trigger, procedure, function, event or schema.
type Object struct {
	Definition string // the SQL or attributes that make it, less what replication may change
	Rows       int64  // of a table or sequence
	Sum        string // of the rows in any order; equal for equal rows
}

// Checkpoint waits for the transactions under way, holds up new ones, and records the truth.
// Its Time is when it did so: transactions of the same second may lie on either side of it,
// and MariaDB's binlog tells no finer, so restore to GTIDPos or File and Pos.
func (w *Workload) Checkpoint(conn *client.Conn, name string) (Checkpoint, error) {
	defer w.Quiesce()()
	return Take(conn, name)
}

// CheckpointAt is a Checkpoint whose Time is a whole second that no transaction straddles: all
// that it holds was committed before Time, all else at Time or later. A restore to Time, which
// applies the transactions before the first with a commit time at or after it, must equal it.
// It takes up to a second, in which the workload stands still.
func (w *Workload) CheckpointAt(conn *client.Conn, name string) (Checkpoint, error) {
	defer w.Quiesce()()
	before, err := now(conn)
	if err != nil {
		return Checkpoint{}, err
	}
	cp, err := Take(conn, name)
	if err != nil {
		return Checkpoint{}, err
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		t, err := now(conn)
		if err != nil {
			return Checkpoint{}, err
		}
		if t.Unix() > before.Unix() {
			cp.Time = t.Truncate(time.Second)
			return cp, nil
		}
		if time.Now().After(deadline) {
			return Checkpoint{}, errors.New("the server's clock stands still")
		}
	}
}

// Take records what the server holds now. The caller sees to it that nothing is written.
func Take(conn *client.Conn, name string) (Checkpoint, error) {
	cp := Checkpoint{Name: name}
	fail := func(err error) (Checkpoint, error) {
		return Checkpoint{}, fmt.Errorf("checkpoint %s: %w", name, err)
	}
	f, err := flavorOf(conn)
	if err != nil {
		return fail(err)
	}
	if cp.File, cp.Pos, cp.GTIDPos, err = f.position(conn); err != nil {
		return fail(err)
	}
	if cp.Objects, cp.Events, err = inventory(conn, f); err != nil {
		return fail(err)
	}
	if cp.Time, err = now(conn); err != nil {
		return fail(err)
	}
	return cp, nil
}

// now returns the server's time, with microseconds, in UTC.
func now(conn *client.Conn) (time.Time, error) {
	rows, err := query(conn, "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) AS CHAR)")
	if err != nil {
		return time.Time{}, err
	}
	seconds, err := strconv.ParseFloat(rows[0][0], 64)
	if err != nil {
		return time.Time{}, err
	}
	return time.UnixMicro(int64(math.Round(seconds * 1e6))).UTC(), nil
}
