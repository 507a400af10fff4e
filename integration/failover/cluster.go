// Package failover tests what happens to an archive when its primary dies or another server takes its
// place: real servers that replicate from each other, and the tidemark program beside them.
package failover

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidemark/integration/servertest"
)

// cluster is some servers of which one is the primary and the others replicate from it by GTID.
type cluster struct {
	t       *testing.T
	servers []*servertest.Server
	primary int
	mysql   bool
	semi    bool // commits wait for an acknowledgement
}

// words of replication that differ between the flavors.
var (
	mariadbSemi = []string{"--rpl-semi-sync-master-timeout=20000", "--rpl-semi-sync-master-wait-point=AFTER_SYNC"}
	mysqlSemi   = []string{"--plugin-load-add=semisync_source.so", "--loose-rpl-semi-sync-source-timeout=20000",
		"--loose-rpl-semi-sync-source-wait-point=AFTER_SYNC"}
)

// start starts n servers. The first is the primary; its account for archiving is everywhere. With semi,
// commits on the primary wait for an acknowledgement, twenty seconds unless the test says otherwise.
func start(t *testing.T, b servertest.Binaries, n int, semi bool) *cluster {
	t.Helper()
	c := &cluster{t: t, mysql: b.Flavor == servertest.MySQL, semi: semi}
	extra := []string{"--max-binlog-size=4M"}
	if c.mysql {
		extra = append(append(extra, mysqlSemi...), "--plugin-load-add=mysql_clone.so")
	} else {
		extra = append(append(extra, mariadbSemi...), "--log-slave-updates=ON")
	}
	for i := range n {
		c.servers = append(c.servers, servertest.Start(t, servertest.Options{ServerID: uint32(11 + i), Binaries: b, Extra: extra}))
	}
	p := c.servers[0]
	p.CreateUser(servertest.User, "secret")
	p.Exec("CREATE USER repl@'%' IDENTIFIED BY 'repl'", "GRANT REPLICATION SLAVE ON *.* TO repl@'%'")
	for i := 1; i < n; i++ {
		c.replicate(i, 0)
	}
	c.catchUp()
	c.promote(0)
	return c
}

// hosts is the list for the configuration.
func (c *cluster) hosts() string {
	var all []string
	for _, s := range c.servers {
		all = append(all, s.Addr)
	}
	return strings.Join(all, ",")
}

// server is the primary.
func (c *cluster) server() *servertest.Server { return c.servers[c.primary] }

// replicate makes a server a replica of another one that takes no writes.
func (c *cluster) replicate(i, from int) {
	s, p := c.servers[i], c.servers[from]
	account, password := "repl", "repl"
	if c.mysql {
		s.Exec("STOP REPLICA", fmt.Sprintf("CHANGE REPLICATION SOURCE TO source_host='127.0.0.1', source_port=%d, source_user='%s', source_password='%s', "+
			"source_auto_position=1, get_source_public_key=1, source_connect_retry=1, source_retry_count=1000", p.Port, account, password),
			"START REPLICA", "SET GLOBAL super_read_only=ON", "SET GLOBAL rpl_semi_sync_source_enabled=OFF")
		return
	}
	s.Exec("STOP SLAVE", fmt.Sprintf("CHANGE MASTER TO master_host='127.0.0.1', master_port=%d, master_user='%s', master_password='%s', "+
		"master_use_gtid=slave_pos, master_ssl=0, master_connect_retry=1", p.Port, account, password),
		"START SLAVE", "SET GLOBAL read_only=ON", "SET GLOBAL rpl_semi_sync_master_enabled=OFF")
}

// promote makes a server the primary.
func (c *cluster) promote(i int) {
	c.primary = i
	if c.mysql {
		c.servers[i].Exec("STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL super_read_only=OFF", "SET GLOBAL read_only=OFF",
			fmt.Sprintf("SET GLOBAL rpl_semi_sync_source_enabled=%v", c.semi))
		return
	}
	c.servers[i].Exec("STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only=OFF", fmt.Sprintf("SET GLOBAL rpl_semi_sync_master_enabled=%v", c.semi))
}

// demote makes the primary take no more writes.
func (c *cluster) demote() {
	statement := "SET GLOBAL read_only=ON"
	if c.mysql {
		statement = "SET GLOBAL super_read_only=ON"
	}
	c.server().Exec(statement)
}

// position is the GTID position of the primary.
func (c *cluster) position() string { return position(c.server(), c.mysql) }

func position(s *servertest.Server, mysql bool) string {
	if mysql {
		return s.Value("SELECT REPLACE(@@GLOBAL.gtid_executed, '\n', '')")
	}
	return s.Value("SELECT IF(@@gtid_binlog_pos = '', @@gtid_slave_pos, @@gtid_binlog_pos)")
}

// catchUp waits until every running replica has all of the primary.
func (c *cluster) catchUp() {
	c.t.Helper()
	want := c.position()
	for i, s := range c.servers {
		if i == c.primary || s.Pid() == 0 {
			continue
		}
		ask := fmt.Sprintf("SELECT MASTER_GTID_WAIT('%s', 60)", want)
		if c.mysql {
			ask = fmt.Sprintf("SELECT WAIT_FOR_EXECUTED_GTID_SET('%s', 60)", want)
		}
		if got := s.Value(ask); got != "0" {
			c.t.Fatalf("server %d is at %s after a minute, not at %s: %v", s.ServerID, position(s, c.mysql), want, c.status(s))
		}
	}
}

// status is that of a replica, for people.
func (c *cluster) status(s *servertest.Server) [][]string {
	if c.mysql {
		return s.Query("SHOW REPLICA STATUS")
	}
	return s.Query("SHOW SLAVE STATUS")
}

// within calls ok until it is true, or fails the test.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

// sessions is how many sessions of root there are on the primary.
func (c *cluster) sessions() int {
	n, err := strconv.Atoi(c.server().Value("SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'root'"))
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}
