package replica

import (
	"cmp"
	"slices"
	"strings"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/internal/gtid"
)

// History is what a server has executed of a replication history.
type History struct {
	set *gtid.Set // MySQL

	// MariaDB: the last transaction of each (domain, server) in its binlog, and what it has applied of
	// others' without a binlog, or before it had one.
	binlog  map[writer]uint64
	applied gtid.Position
}

// writer is a server in one of MariaDB's domains.
type writer struct{ domain, server uint32 }

// ReadHistory asks a server for its history.
func ReadHistory(conn *client.Conn, flavor gtid.Flavor) (*History, error) {
	query := "SELECT @@gtid_binlog_state, @@gtid_slave_pos"
	if flavor == gtid.MySQL {
		query = "SELECT @@global.gtid_executed"
	}
	r, err := conn.Execute(query)
	if err != nil {
		return nil, queryError("ask for the server's history", err, flavor)
	}
	text, _ := r.GetString(0, 0)
	if flavor == gtid.MySQL {
		set, err := gtid.ParseSet(strings.ReplaceAll(text, "\n", ""))
		return &History{set: set}, err
	}
	h := &History{binlog: make(map[writer]uint64)}
	list, err := gtid.ParseList(text)
	if err != nil {
		return nil, err
	}
	for _, g := range list {
		h.binlog[writer{g.Domain, g.Server}] = g.Seq
	}
	applied, _ := r.GetString(0, 1)
	h.applied, err = gtid.ParsePosition(applied)
	return h, err
}

// Applied is what a MariaDB server has applied as a replica.
func (h *History) Applied() gtid.Position { return h.applied }

// Beyond lists what a MariaDB server has in its binlog of another server, by that one's ID, behind what it has applied as a replica
// in the same domain: the last transaction of each such domain. A replica has none, nor has one that was promoted.
func (h *History) Beyond(server uint32) []gtid.GTID {
	var list []gtid.GTID
	for w, seq := range h.binlog {
		if applied, known := h.applied[w.domain]; known && w.server == server && seq > applied.Seq {
			list = append(list, gtid.GTID{Domain: w.domain, Server: w.server, Seq: seq})
		}
	}
	slices.SortFunc(list, func(a, b gtid.GTID) int { return cmp.Compare(a.Domain, b.Domain) })
	return list
}

// Without returns of a set, or of a list of GTIDs, what the server does not have.
func (h *History) Without(list []string) ([]string, error) {
	var lacking []string
	for _, text := range list {
		if h.set != nil {
			set, err := gtid.ParseSet(text)
			if err != nil {
				return nil, err
			}
			if set.Subtract(h.set); !set.Empty() {
				lacking = append(lacking, set.String())
			}
			continue
		}
		if g, err := gtid.Parse(text); err != nil || !h.Has(g) { // what is no GTID says how many there are
			lacking = append(lacking, text)
		}
	}
	return lacking, nil
}

// Has reports whether the server has a transaction, or on MariaDB one that the same server wrote later
// in its domain.
func (h *History) Has(g gtid.GTID) bool {
	if h.set != nil {
		return h.set.Contains(g)
	}
	if seq, known := h.binlog[writer{g.Domain, g.Server}]; known {
		return g.Seq <= seq
	}
	// It has been set up from a copy: what was before it knows only as its position.
	applied, known := h.applied[g.Domain]
	return known && g.Seq <= applied.Seq
}

// HasAll reports whether the server has all that a log holds.
func (h *History) HasAll(s *gtid.State) bool {
	if h.set != nil {
		return gtid.NewSetState(h.set).Covers(s)
	}
	for _, g := range s.List() {
		if !h.Has(g) {
			return false
		}
	}
	return true
}

// HasDomainsBeside reports whether a MariaDB server has transactions in its binlog of domains that a position does not name.
func (h *History) HasDomainsBeside(s *gtid.State) bool {
	for w := range h.binlog {
		if s.Tip(w.domain).IsZero() {
			return true
		}
	}
	return false
}

// Lacks returns which transactions at the end of a log the server does not have, as text; "" if it has
// them all.
func (h *History) Lacks(s *gtid.State) string {
	if h.set != nil {
		all, err := gtid.ParseSet(s.String())
		if err != nil {
			return err.Error()
		}
		all.Subtract(h.set)
		return all.String()
	}
	var missing []gtid.GTID
	for _, g := range s.Position().List() {
		if !h.Has(g) {
			missing = append(missing, g)
		}
	}
	return gtid.FormatList(missing)
}

// Intersects reports whether a MySQL server has any of a set.
func (h *History) Intersects(set *gtid.Set) bool { return h.set != nil && h.set.Intersects(set) }

// StartPosition is the GTID position at which the oldest binlog of a server begins.
func StartPosition(conn *client.Conn, flavor gtid.Flavor) (string, error) {
	if flavor == gtid.MySQL {
		return startPosition(conn, "SELECT @@global.gtid_purged", flavor)
	}
	files, err := Files(conn)
	if err != nil {
		return "", err
	}
	return FilePosition(conn, files[0].File)
}

// FilePosition is the GTID position at which a binlog file of a MariaDB server begins.
func FilePosition(conn *client.Conn, file string) (string, error) {
	return startPosition(conn, "SELECT BINLOG_GTID_POS('"+strings.ReplaceAll(file, "'", "''")+"', 4)", gtid.MariaDB)
}

func startPosition(conn *client.Conn, query string, flavor gtid.Flavor) (string, error) {
	r, err := conn.Execute(query)
	if err != nil {
		return "", queryError("ask where the binlog begins", err, flavor)
	}
	position, _ := r.GetString(0, 0)
	return strings.ReplaceAll(position, "\n", ""), nil
}
