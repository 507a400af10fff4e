package workload

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-mysql-org/go-mysql/client"
)

// Difference says in what a server differs from a checkpoint.
type Difference struct {
	Checkpoint string
	Found      map[string]string // "table wl_0.t1" -> "has 7 rows instead of 8"
}

// Error names the first differences.
func (d *Difference) Error() string {
	const most = 10
	var b strings.Builder
	fmt.Fprintf(&b, "differs from checkpoint %s in %d objects", d.Checkpoint, len(d.Found))
	for i, name := range slices.Sorted(maps.Keys(d.Found)) {
		if i == most {
			fmt.Fprintf(&b, "; and %d more", len(d.Found)-most)
			break
		}
		fmt.Fprintf(&b, "; %s %s", name, d.Found[name])
	}
	return b.String()
}

// executed is the key, among the differences, of a MySQL server's GTIDs.
const executed = "gtid_executed"

// Compare returns a *Difference unless the server holds exactly what the checkpoint says, on MySQL
// with the same GTIDs executed. The status of events is left out: a replica disables those it is
// given. See CompareEvents.
func Compare(conn *client.Conn, cp Checkpoint) error {
	fail := func(err error) error { return fmt.Errorf("compare with checkpoint %s: %w", cp.Name, err) }
	f, err := flavorOf(conn)
	if err != nil {
		return fail(err)
	}
	found := map[string]string{}
	if f == mySQL {
		if found[executed], err = otherSet(conn, cp.GTIDPos); err != nil {
			return fail(err)
		}
		if found[executed] == "" {
			delete(found, executed)
		}
	}
	have, _, err := inventory(conn, f)
	if err != nil {
		return fail(err)
	}
	for name, want := range cp.Objects {
		got, ok := have[name]
		switch {
		case !ok:
			found[name] = "is missing"
		case got.Definition != want.Definition:
			found[name] = fmt.Sprintf("is defined as %q instead of %q", got.Definition, want.Definition)
		case got.Rows != want.Rows:
			found[name] = fmt.Sprintf("has %d rows instead of %d", got.Rows, want.Rows)
		case got.Sum != want.Sum:
			found[name] = fmt.Sprintf("has %d rows with other contents", got.Rows)
		}
	}
	for name := range have {
		if _, ok := cp.Objects[name]; !ok {
			found[name] = "should not be there"
		}
	}
	return difference(cp, found)
}

// CompareEvents returns a *Difference unless the events have the status that they had.
func CompareEvents(conn *client.Conn, cp Checkpoint) error {
	f, err := flavorOf(conn)
	if err != nil {
		return fmt.Errorf("compare with checkpoint %s: %w", cp.Name, err)
	}
	_, have, err := inventory(conn, f)
	if err != nil {
		return fmt.Errorf("compare with checkpoint %s: %w", cp.Name, err)
	}
	found := map[string]string{}
	for name, want := range cp.Events {
		if got := have[name]; got != want {
			found[name] = fmt.Sprintf("is %q instead of %q", got, want)
		}
	}
	return difference(cp, found)
}

// Transfers returns for each worker how many of its transfers the server holds, or an error if
// they are not all those from the first to the last, each once.
func (w *Workload) Transfers(conn *client.Conn) (map[int]int64, error) {
	held := map[int]int64{}
	for d := range w.opts.Domains {
		rows, err := query(conn, fmt.Sprintf("SELECT worker, COUNT(*), MIN(seq), MAX(seq) FROM %s.journal GROUP BY worker", w.schema(d)))
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			var worker int
			var count, first, last int64
			if _, err := fmt.Sscan(strings.Join(r, " "), &worker, &count, &first, &last); err != nil {
				return nil, err
			}
			if first != 1 || last != count {
				return nil, fmt.Errorf("%s.journal: worker %d has %d transfers numbered %d to %d", w.schema(d), worker, count, first, last)
			}
			held[worker] = count
		}
	}
	return held, nil
}

// CheckInvariants returns an error if the server holds half a transaction, or lacks one before
// another that it holds. It is true after Setup at every transaction boundary, of every domain,
// so it judges a restore to any point, also where no checkpoint is.
func (w *Workload) CheckInvariants(conn *client.Conn) error {
	if _, err := w.Transfers(conn); err != nil {
		return err
	}
	for d := range w.opts.Domains {
		rows, err := query(conn, fmt.Sprintf("SELECT COUNT(*), SUM(balance) FROM %s.account", w.schema(d)))
		if err != nil {
			return err
		}
		if got, want := strings.Join(rows[0], " "), fmt.Sprintf("%d %d", accounts, accounts*balance); got != want {
			return fmt.Errorf("%s.account: number of accounts and total are %s, not %s", w.schema(d), got, want)
		}
	}
	return nil
}

func difference(cp Checkpoint, found map[string]string) error {
	if len(found) == 0 {
		return nil
	}
	return &Difference{Checkpoint: cp.Name, Found: found}
}
