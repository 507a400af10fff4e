package kit

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"tidemark/integration/kit/servertest"
)

// Cluster is some servers of which one is the primary and the others replicate from it by GTID. A World
// archives them with its Setup.
type Cluster struct {
	t       *testing.T
	Servers []*servertest.Server
	Primary int // index
	MySQL   bool
	semi    bool // commits wait for an acknowledgement
}

// What makes commits wait for an acknowledgement, where that is switched on.
var (
	mariadbSemi = []string{"--rpl-semi-sync-master-timeout=20000", "--rpl-semi-sync-master-wait-point=AFTER_SYNC"}
	mysqlSemi   = []string{"--plugin-load-add=semisync_source.so", "--loose-rpl-semi-sync-source-timeout=20000",
		"--loose-rpl-semi-sync-source-wait-point=AFTER_SYNC"}
)

// StartCluster starts n servers. The first is the primary; its account for archiving is everywhere.
func StartCluster(t *testing.T, b servertest.Binaries, n int) *Cluster {
	t.Helper()
	return startCluster(t, b, n, false)
}

// StartSemiSync is StartCluster whose commits on the primary wait for an acknowledgement, twenty seconds
// unless the test says otherwise.
func StartSemiSync(t *testing.T, b servertest.Binaries, n int) *Cluster {
	t.Helper()
	return startCluster(t, b, n, true)
}

func startCluster(t *testing.T, b servertest.Binaries, n int, semi bool) *Cluster {
	t.Helper()
	c := &Cluster{t: t, MySQL: b.Flavor == servertest.MySQL, semi: semi}
	extra := []string{"--max-binlog-size=4M"}
	if c.MySQL {
		extra = append(append(extra, mysqlSemi...), "--plugin-load-add=mysql_clone.so")
	} else {
		extra = append(append(extra, mariadbSemi...), "--log-slave-updates=ON")
	}
	for i := range n {
		c.Servers = append(c.Servers, servertest.Start(t, servertest.Options{ServerID: uint32(11 + i), Binaries: b, Extra: extra}))
	}
	p := c.Servers[0]
	p.CreateUser(servertest.User, Password)
	p.Exec("CREATE USER repl@'%' IDENTIFIED BY 'repl'", "GRANT REPLICATION SLAVE ON *.* TO repl@'%'")
	for i := 1; i < n; i++ {
		c.Replicate(i, 0)
	}
	c.CatchUp()
	c.Promote(0)
	return c
}

// hosts is the list for the configuration.
func (c *Cluster) hosts() string {
	var all []string
	for _, s := range c.Servers {
		all = append(all, s.Addr)
	}
	return strings.Join(all, ",")
}

// Setup is that of a World which archives the primary, whichever server that is, with these lines of
// configuration.
func (c *Cluster) Setup(lines ...string) Setup {
	return Setup{Server: c.Server(), Addr: c.hosts(), Cluster: lines}
}

// Server is the primary.
func (c *Cluster) Server() *servertest.Server { return c.Servers[c.Primary] }

// Replicate makes a server a replica of another one that takes no writes.
func (c *Cluster) Replicate(i, from int) {
	s, p := c.Servers[i], c.Servers[from]
	if c.MySQL {
		s.Exec("STOP REPLICA", fmt.Sprintf("CHANGE REPLICATION SOURCE TO source_host='127.0.0.1', source_port=%d, source_user='repl', "+
			"source_password='repl', source_auto_position=1, get_source_public_key=1, source_connect_retry=1, source_retry_count=1000", p.Port),
			"START REPLICA", "SET GLOBAL super_read_only=ON", "SET GLOBAL rpl_semi_sync_source_enabled=OFF")
		return
	}
	s.Exec("STOP SLAVE", fmt.Sprintf("CHANGE MASTER TO master_host='127.0.0.1', master_port=%d, master_user='repl', "+
		"master_password='repl', master_use_gtid=slave_pos, master_ssl=0, master_connect_retry=1", p.Port),
		"START SLAVE", "SET GLOBAL read_only=ON", "SET GLOBAL rpl_semi_sync_master_enabled=OFF")
}

// Promote makes a server the primary.
func (c *Cluster) Promote(i int) {
	c.Primary = i
	if c.MySQL {
		c.Servers[i].Exec("STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL super_read_only=OFF", "SET GLOBAL read_only=OFF",
			fmt.Sprintf("SET GLOBAL rpl_semi_sync_source_enabled=%v", c.semi))
		return
	}
	c.Servers[i].Exec("STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only=OFF",
		fmt.Sprintf("SET GLOBAL rpl_semi_sync_master_enabled=%v", c.semi))
}

// Demote makes the primary take no more writes.
func (c *Cluster) Demote() {
	statement := "SET GLOBAL read_only=ON"
	if c.MySQL {
		statement = "SET GLOBAL super_read_only=ON"
	}
	c.Server().Exec(statement)
}

// Position is the GTID position of the primary.
func (c *Cluster) Position() string { return positionOf(c.Server()) }

// positionOf is the GTID position of a server that may be a replica.
func positionOf(s *servertest.Server) string {
	if s.Binaries.Flavor == servertest.MySQL {
		return s.Position()
	}
	return s.Value("SELECT IF(@@gtid_binlog_pos = '', @@gtid_slave_pos, @@gtid_binlog_pos)")
}

// CatchUp waits until every running replica has all of the primary.
func (c *Cluster) CatchUp() {
	c.t.Helper()
	want := c.Position()
	for i, s := range c.Servers {
		if i == c.Primary || s.Pid() == 0 {
			continue
		}
		ask := fmt.Sprintf("SELECT MASTER_GTID_WAIT('%s', 60)", want)
		if c.MySQL {
			ask = fmt.Sprintf("SELECT WAIT_FOR_EXECUTED_GTID_SET('%s', 60)", want)
		}
		if got := s.Value(ask); got != "0" {
			c.t.Fatalf("server %d is at %s after a minute, not at %s: %v", s.ServerID, positionOf(s), want, c.status(s))
		}
	}
}

// status is that of a replica, for people.
func (c *Cluster) status(s *servertest.Server) [][]string {
	if c.MySQL {
		return s.Query("SHOW REPLICA STATUS")
	}
	return s.Query("SHOW SLAVE STATUS")
}

// SetSemiSync sets a variable of the primary's semi-synchronous replication, "timeout" or "enabled".
func (c *Cluster) SetSemiSync(variable string, value any) {
	prefix := "rpl_semi_sync_master_"
	if c.MySQL {
		prefix = "rpl_semi_sync_source_"
	}
	c.Server().Exec(fmt.Sprintf("SET GLOBAL %s%s=%v", prefix, variable, value))
}

// Sessions is how many sessions of root there are on the primary.
func (c *Cluster) Sessions() int {
	n, err := strconv.Atoi(c.Server().Value("SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'root'"))
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}
