package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/basebackup"
	"tidemark/internal/config"
	"tidemark/internal/daemon"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/internal/mysqld"
	"tidemark/replica"
)

// primary connects to every host and looks at it and at what the account may do there. What runs here
// is checked against the host that would be archived.
func (c *checker) primary(ctx context.Context) {
	if err := c.cfg.NeedPrimary(c.cl); err != nil {
		c.fail("primary", err)
		return
	}
	servers := make(map[config.Address]*replica.Server)
	for _, host := range c.cl.Hosts {
		c.host(ctx, host, servers)
	}
	host, _, err := daemon.Choose(ctx, c.cl, replica.Choice{}, config.Address{}, c.a.Clock)
	if err != nil {
		c.fail("hosts", err)
		return
	}
	if len(c.cl.Hosts) > 1 {
		c.ok("hosts", "%s would be archived: follow is %s", host, c.cl.Follow)
	}
	if s := servers[host]; s != nil {
		c.programs(ctx, host, s)
	}
}

// host looks at one host.
func (c *checker) host(ctx context.Context, host config.Address, servers map[config.Address]*replica.Server) {
	if len(c.cl.Hosts) > 1 {
		c.at = host.String() + ": "
		defer func() { c.at = "" }()
	}
	o, err := daemon.Connection(c.cl, host)
	if err != nil {
		c.fail("connection", err)
		return
	}
	conn, err := replica.Dial(ctx, o)
	if err != nil {
		c.fail("primary", err)
		return
	}
	defer conn.Close()
	server, err := replica.Probe(conn, c.a.Clock.Now)
	if err != nil {
		c.fail("primary", err)
		return
	}
	servers[host] = server
	c.server(conn, host, server)
	c.privileges(conn, server.Flavor)
}

// server checks the settings of a server.
func (c *checker) server(conn *client.Conn, host config.Address, s *replica.Server) {
	how := "not encrypted"
	switch mode := c.cl.TLS.ModeFor(host); {
	case mode != config.TLSDisabled:
		how = "over TLS, " + mode.String()
	case host.Network == "unix":
		how = "over a socket"
	}
	c.ok("primary", "%s is %s, server_id %d; %s", host, s.Version, s.ID, how)
	if err := s.Archivable(); err != nil {
		c.fail("log_bin", err)
		return
	}
	c.missing(conn, host, s)
	if s.Galera {
		c.warn("galera", "Archive one node: name it alone in hosts. When it is replaced by a state transfer, its history begins anew (a timeline), with a base backup.",
			"%s is a node of a Galera cluster (wsrep_on), whose nodes differ in their binlogs; Tidemark has not been tried on one", host)
	}
	if s.LogArchive {
		c.warn("innodb_log_archive", "SET GLOBAL innodb_log_archive = OFF, and in the server's configuration.",
			"it is ON: mariadb-backup fails with it, and there are no base backups")
	}
	if s.ReadOnly && len(c.cl.Hosts) == 1 {
		c.warn("read_only", "Name the server that takes writes, unless this one is to be archived on purpose.", "%s takes no writes", host)
	}
	if s.Format != "ROW" {
		c.warn("binlog_format", "SET GLOBAL binlog_format = 'ROW', and in the server's configuration.",
			"%s: statements may do something else when they are applied again", s.Format)
	} else {
		c.ok("binlog_format", "ROW")
	}
	if s.Checksum == "NONE" {
		c.warn("checksum", "SET GLOBAL binlog_checksum = 'CRC32', and in the server's configuration.",
			"binlog_checksum is NONE: damage on the way or on the server's disk cannot be noticed")
	} else {
		c.ok("checksum", "binlog_checksum is %s", s.Checksum)
	}
	if gap := s.ClockGap; gap.Abs() > 5*time.Second {
		c.warn("clock", "Let both machines keep time with the same source.", "the server's clock is %s away from ours", took(gap.Abs()))
	}
	c.settings(conn)
	c.semiSync(conn)
	c.serverID(conn, s)
}

// missing looks for settings because of which the binlog lacks changes.
func (c *checker) missing(conn *client.Conn, host config.Address, s *replica.Server) {
	const name = "not archived"
	list, err := replica.ReadMissing(conn, s.Flavor)
	if err != nil {
		c.fail(name, err)
		return
	}
	unaccepted := daemon.Unaccepted(c.cl, list)
	if err := replica.RefuseMissing(host.String(), daemon.AcceptKey(c.cl), unaccepted); err != nil {
		c.fail(name, err)
		return
	}
	for _, m := range list {
		c.warn(name, "Take it out of "+daemon.AcceptKey(c.cl)+" when the server logs everything.", "%s (%s), as the configuration accepts", m.Lacks(), m)
	}
}

// semiSync checks whether the primary waits for the acknowledgements that are configured.
func (c *checker) semiSync(conn *client.Conn) {
	if c.cl.Ack == config.AckNone {
		return
	}
	const name = "semi-sync"
	s, err := replica.ProbeSemiSync(conn)
	switch {
	case err != nil:
		c.fail(name, err)
		return
	case !s.Present:
		c.warn(name, "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'; SET PERSIST rpl_semi_sync_source_enabled = ON.",
			"ack is %s, and the server has no semi-synchronous replication: no commit waits", c.cl.Ack)
		return
	case !s.Enabled:
		c.warn(name, "Set rpl_semi_sync_master_enabled (MySQL: rpl_semi_sync_source_enabled) = ON, and in the server's configuration.",
			"ack is %s, and semi-synchronous replication is off: no commit waits", c.cl.Ack)
		return
	}
	c.ok(name, "on, %s, for %s, at most %s; %s connected", s.Point, counted(s.Waits, "acknowledgement"), took(s.Timeout), counted(s.Replicas, "replica"))
	if s.Point != "AFTER_SYNC" {
		c.warn(name, "Set the wait point to AFTER_SYNC.",
			"the wait point is %s: others can see a transaction, and lose it again, before it is acknowledged", s.Point)
	}
	if s.Waits < s.Replicas {
		c.warn(name, "Let commits wait for all of them, or let only this archive acknowledge.",
			"%d replicas acknowledge and a commit waits for %d: it may be another that has it, and not the archive", s.Replicas, s.Waits)
	}
}

// settings checks those that Probe does not ask for. A server that lacks one is not asked twice.
func (c *checker) settings(conn *client.Conn) {
	global := func(name string) (string, bool) {
		r, err := conn.Execute("SELECT @@GLOBAL." + name)
		if err != nil || r.RowNumber() != 1 {
			return "", false
		}
		v, err := r.GetString(0, 0)
		return v, err == nil
	}
	if v, ok := global("binlog_row_image"); ok {
		c.ok("row image", "binlog_row_image is %s; any will do", v)
	}
	for _, name := range []string{"sync_binlog", "innodb_flush_log_at_trx_commit"} {
		if v, ok := global(name); ok && v != "1" {
			c.warn("durability", "SET GLOBAL "+name+" = 1, and in the server's configuration.",
				"%s is %s: a crash of the server can lose transactions that are archived, and the two histories part", name, v)
		}
	}
	for _, name := range []string{"encrypt_binlog", "binlog_encryption"} { // MariaDB's and MySQL's
		if v, ok := global(name); ok && (v == "1" || v == "ON") {
			c.sourceEncrypts()
		}
	}
	keep, ok := global("binlog_expire_logs_seconds")
	if !ok {
		days, known := global("expire_logs_days")
		n, err := strconv.ParseFloat(days, 64)
		if ok = known && err == nil; ok {
			keep = fmt.Sprintf("%.0f", n*86400)
		}
	}
	seconds, err := strconv.ParseInt(keep, 10, 64)
	switch d := time.Duration(seconds) * time.Second; {
	case !ok || err != nil:
	case d == 0:
		c.ok("expiry", "the server keeps its binlogs until they are purged")
	case d < 24*time.Hour:
		c.warn("expiry", "SET GLOBAL binlog_expire_logs_seconds = 259200, and in the server's configuration.",
			"the server keeps its binlogs for %s: when archiving stands still for longer, there will be a gap", took(d))
	default:
		c.ok("expiry", "the server keeps its binlogs for %s", took(d))
	}
}

// serverID looks for another replica that has ours.
func (c *checker) serverID(conn *client.Conn, s *replica.Server) {
	id := c.cl.ServerID
	if id == 0 {
		c.ok("server_id", "chosen by `tidemark run`")
		return
	}
	if id == s.ID {
		c.fail("server_id", fault.New(fault.Config, "", "", fmt.Errorf("%d is the server's own", id)).
			WithHint("Set clusters."+c.cl.Name+".server_id to a number that no server and no replica has."))
		return
	}
	r, err := conn.Execute(replica.ListReplicas(s.Flavor))
	if err != nil {
		c.ok("server_id", "%d; the account may not see which others are in use", id)
		return
	}
	for i := range r.RowNumber() {
		theirs, _ := r.GetUint(i, 0)
		name, _ := r.GetString(i, 1)
		if uint32(theirs) == id && !strings.HasPrefix(name, replica.Name) {
			c.fail("server_id", fault.New(fault.Config, "", "", fmt.Errorf("replica %q has server_id %d too", name, id)).
				WithHint("Set clusters."+c.cl.Name+".server_id to a number that no server and no replica has."))
			return
		}
	}
	c.ok("server_id", "%d is used by no other replica", id)
}

// Privileges, each with the other names it has.
var (
	toArchive = [][]string{{"REPLICATION SLAVE", "REPLICATION REPLICA"}, {"BINLOG MONITOR", "REPLICATION CLIENT"}}
	toBackUp  = map[config.Engine][][]string{
		config.EngineMariaDB:    {{"RELOAD"}, {"PROCESS"}},
		config.EngineClone:      {{"BACKUP_ADMIN"}, {"PROCESS"}, {"SHOW VIEW"}},
		config.EngineXtraBackup: {{"BACKUP_ADMIN"}, {"PROCESS"}, {"SHOW VIEW"}, {"RELOAD"}, {"LOCK TABLES"}},
	}
)

// privileges looks for what the account lacks.
func (c *checker) privileges(conn *client.Conn, flavor gtid.Flavor) {
	r, err := conn.Execute("SHOW GRANTS")
	if err != nil {
		c.fail("privileges", fault.New(fault.Primary, "ask for", "privileges", err))
		return
	}
	var grants []string
	for i := range r.RowNumber() {
		g, _ := r.GetString(i, 0)
		grants = append(grants, g)
	}
	engine, _ := engineFor(c.cl, flavor) // programs says what is wrong with it
	statements := replica.Grants(flavor, c.cl.User)
	if engine == config.EngineXtraBackup {
		statements += "; " + strings.Join(basebackup.XtraBackupGrants("'"+c.cl.User+"'"), "; ")
	}
	remedy := "Run: " + statements + "; each with the host part that the account has."
	archive, backup := missingPrivileges(grants, toArchive), missingPrivileges(grants, toBackUp[engine])
	switch {
	case len(archive) > 0:
		c.fail("privileges", fault.New(fault.Primary, "", "", errors.New(c.cl.User+" lacks "+strings.Join(append(archive, backup...), ", "))).
			WithHint(remedy))
	case len(backup) > 0:
		c.warn("privileges", remedy, "%s lacks %s, without which there are no base backups", c.cl.User, strings.Join(backup, ", "))
	default:
		c.ok("privileges", "%s has what archiving and base backups need", c.cl.User)
	}
}

// missingPrivileges reads what SHOW GRANTS says. Only what is granted on everything counts.
func missingPrivileges(grants []string, needed [][]string) (missing []string) {
	var have []string
	for _, g := range grants {
		list, ok := strings.CutPrefix(g, "GRANT ")
		list, _, global := strings.Cut(list, " ON *.* TO ")
		if !ok || !global {
			continue
		}
		for p := range strings.SplitSeq(list, ",") {
			have = append(have, strings.TrimSpace(p))
		}
	}
	if slices.Contains(have, "ALL PRIVILEGES") {
		return nil
	}
	for _, names := range needed {
		if !slices.ContainsFunc(names, func(n string) bool { return slices.Contains(have, n) }) {
			missing = append(missing, names[0])
		}
	}
	return missing
}

// uncopied names the files of databases that no base backup will hold.
func (c *checker) uncopied(ctx context.Context, engine basebackup.Engine) {
	lister, ok := engine.(interface {
		Uncopied(ctx context.Context) ([]string, error)
	})
	if !ok {
		return
	}
	files, err := lister.Uncopied(ctx)
	switch {
	case err != nil:
		c.warn("files", fault.HintOf(err), "what no base backup will hold cannot be told: %v", err)
	case len(files) > 0:
		c.warn("files", "Copy them by other means if a table is made of one (as those of CONNECT are), and remove what is not needed.",
			"%s in the databases' directories will be in no base backup, as mariadb-backup does not copy them: %s", counted(len(files), "file"), fewOf(files))
	}
}

// fewOf shows some of many names, which may hold anything.
func fewOf(names []string) string {
	const most = 5
	shown := make([]string, 0, most+1)
	for _, name := range names[:min(most, len(names))] {
		shown = append(shown, strconv.Quote(name))
	}
	if n := len(names) - most; n > 0 {
		shown = append(shown, fmt.Sprintf("and %d more", n))
	}
	return strings.Join(shown, ", ")
}

// programs checks what base backups and restores on this machine take.
func (c *checker) programs(ctx context.Context, host config.Address, s *replica.Server) {
	which, _ := engineFor(c.cl, s.Flavor) // the engine says what is wrong with it
	engine, err := c.a.engine(c.cfg, c.cl, host, s.Flavor)
	if err == nil {
		err = engine.Check(ctx)
	}
	if err != nil {
		c.warn("base backup", fault.HintOf(err), "none can be taken here: %v", err)
	} else {
		c.ok("base backup", "%s", map[config.Engine]string{
			config.EngineMariaDB:    "the data directory can be read, and mariadb-backup is of the server's version",
			config.EngineClone:      "the server can be cloned from here",
			config.EngineXtraBackup: "the data directory can be read, and xtrabackup is of the server's version"}[which])
		c.uncopied(ctx, engine)
	}
	if c.cl.Base.Schedule.Never() {
		c.warn("schedule", "Set clusters."+c.cl.Name+".base.schedule, for instance to \"0 3 * * *\".",
			"base backups are taken only on demand: a restore takes longer with every day since the last one")
	}
	ours, err := mysqld.ParseVersion(s.Version)
	if err != nil {
		return
	}
	tools, err := mysqld.Tools{}.Find(s.Flavor)
	if which == config.EngineXtraBackup && err == nil {
		tools, err = tools.FindXtraBackup()
	}
	if err != nil {
		c.warn("restore", fault.HintOf(err), "none can be done here: %v", err)
		return
	}
	switch v, err := mysqld.ProgramVersion(ctx, tools.Mysqld); {
	case err != nil:
		c.warn("restore", "", "%v", err)
	case v.Flavor != ours.Flavor || v.Series() != ours.Series():
		c.warn("restore", "Restore where a server of the primary's version is installed, or install it here.",
			"%s is %s, the server is %s", tools.Mysqld, v, ours)
	default:
		c.ok("restore", "%s is %s", tools.Mysqld, v)
	}
}
