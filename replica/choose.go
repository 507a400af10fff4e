package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// Choice says which of several hosts is wanted.
//
// The primary is the host that takes writes, and of several that do, one that does not replicate from
// another. A host is only chosen if it has all that is archived. Of those that are equal in this it is
// the one that was archived last, or else the first in the list.
type Choice struct {
	Hosts    []Options
	LastID   uint32      // server_id of the one archived last, or 0
	LastUUID string      // and its server_uuid; MySQL
	Reached  *gtid.State // what is archived; nil: nothing
	Any      bool        // a host that takes no writes is as good
}

// candidate is what a host says when it is asked whether it may be archived.
type candidate struct {
	host       string
	server     *Server
	replicates bool   // it applies the log of another server
	lacks      string // of what is archived; "" if it has all
	err        error  // it cannot be asked, or not be archived
}

// Choose asks all hosts at once and returns the index of the one to archive from. With one host that
// is the one, without asking. Errors are of kind Primary and name what is wrong with each host; Refused holds
// for them only when it does for every host, and they match ErrDiverged when what is missing from the
// primary is all that keeps it from being chosen.
func Choose(ctx context.Context, c Choice, now func() time.Time) (int, error) {
	if len(c.Hosts) == 1 {
		return 0, nil
	}
	all := make([]*candidate, len(c.Hosts))
	var wg sync.WaitGroup
	for i, o := range c.Hosts {
		wg.Go(func() { all[i] = ask(ctx, o, c.Reached, now) })
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	best := slices.MinFunc(all, func(a, b *candidate) int { return c.rank(a) - c.rank(b) })
	if c.rank(best) < unfit {
		return slices.Index(all, best), nil
	}
	return 0, c.none(all)
}

// unfit is the rank of hosts that are not chosen.
const unfit = 100

// rank orders candidates, the best first.
func (c Choice) rank(h *candidate) int {
	rank := 0
	switch {
	case h.err != nil, h.lacks != "", h.server.ReadOnly && !c.Any:
		return unfit
	case c.Any:
	case h.replicates:
		rank = 2
	}
	if h.server.ID != c.LastID || h.server.UUID != c.LastUUID {
		rank++
	}
	return rank
}

// ask finds out about a host.
func ask(ctx context.Context, o Options, reached *gtid.State, now func() time.Time) *candidate {
	h := &candidate{host: o.Host}
	conn, err := Dial(ctx, o)
	if err != nil {
		h.err = err
		return h
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if h.server, h.err = Probe(conn, now); h.err != nil {
		return h
	}
	if h.err = h.server.Archivable(); h.err != nil {
		return h
	}
	if h.replicates, h.err = Replicates(conn, h.server.Flavor); h.err != nil || reached == nil {
		return h
	}
	history, err := ReadHistory(conn, h.server.Flavor)
	if h.err = err; err == nil {
		h.lacks = history.Lacks(reached)
	}
	return h
}

// Replicates reports whether a server runs replica threads.
func Replicates(conn *client.Conn, flavor gtid.Flavor) (bool, error) {
	if flavor == gtid.MariaDB { // a counter that needs no privilege
		r, err := conn.Execute("SHOW GLOBAL STATUS LIKE 'Slaves_running'")
		if err != nil {
			return false, queryError("ask for replication", err, flavor)
		}
		n, _ := r.GetString(0, 1)
		return n != "" && n != "0", nil
	}
	r, err := conn.Execute("SHOW REPLICA STATUS")
	if err != nil {
		return false, queryError("ask for replication", err, flavor)
	}
	for i := range r.RowNumber() {
		for _, column := range []string{"Replica_IO_Running", "Replica_SQL_Running"} {
			if v, err := r.GetStringByName(i, column); err == nil && v != "No" {
				return true, nil
			}
		}
	}
	return false, nil
}

// none is the error when no host can be chosen.
func (c Choice) none(all []*candidate) error {
	e := &noHost{refused: true}
	var words []string
	hint := "Check that the servers run; `tidemark check` asks each of them."
	for i, h := range all {
		why := "takes no writes"
		switch {
		case h.err != nil:
			why = h.err.Error()
			e.errs = append(e.errs, h.err)
		case h.lacks != "" && (c.Any || !h.server.ReadOnly):
			why = "lacks " + h.lacks + ", which is archived"
			if !h.replicates && !h.server.ReadOnly { // a replica may be behind for as long as it likes
				e.lacking = append(e.lacking, i)
			}
			hint = "A primary that lacks transactions was promoted without them. If it stays so, its history becomes a timeline of its own."
		}
		if h.err == nil || !Refused(h.err) {
			e.refused = false
		}
		words = append(words, h.host+" "+why)
	}
	e.text = strings.Join(words, "; ")
	return fault.New(fault.Primary, "choose", "one of "+fmt.Sprint(len(all))+" hosts", e).WithHint(hint)
}

// noHost says why no host was chosen.
type noHost struct {
	text    string
	errs    []error
	refused bool  // every host
	lacking []int // hosts that are a primary, but for what they lack
}

func (e *noHost) Error() string { return e.text }

// Is matches ErrDiverged.
func (e *noHost) Is(target error) bool { return len(e.lacking) > 0 && target == ErrDiverged }

// Unwrap returns the hosts' own errors when they speak for all of them.
func (e *noHost) Unwrap() []error {
	if e.refused {
		return e.errs
	}
	return nil
}

// Unchosen reports whether an error is one of Choose.
func Unchosen(err error) bool {
	var e *noHost
	return errors.As(err, &e)
}

// Lacking returns, of an error of Choose, the indices of the hosts that take writes and replicate from
// no one, but lack transactions that are archived.
func Lacking(err error) []int {
	var e *noHost
	if errors.As(err, &e) {
		return e.lacking
	}
	return nil
}
