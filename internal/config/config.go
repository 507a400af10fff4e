// Package config is what the operator has decided: the configuration file, the environment and the
// flags as one checked value that knows where each part of it came from.
//
// An option has one name, its path in the file ("clusters.shop.segment.max_age"), and everything
// else follows from it: the environment variable is TIDEMARK_ and the path in capitals with every
// '.' and '-' an underscore (TIDEMARK_CLUSTERS_SHOP_SEGMENT_MAX_AGE). What is given later wins:
// default, file, environment, flag. Passwords are no options: see Cluster.Password.
//
// The structs below are the whole list of options. Their tags hold the key, the default as it would
// be written, and the meaning; the documentation is held to them by a test.
package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tidemark/internal/fault"
)

// DefaultFile is read when neither a file nor a primary nor an archive is named.
const DefaultFile = "/etc/tidemark/tidemark.yaml"

// Config is the effective configuration.
type Config struct {
	Archive    string     `key:"archive" doc:"where the archive is: file:///absolute/path, s3://bucket/prefix, gs://bucket/prefix or azblob://container/prefix"`
	Storage    Storage    `key:"storage"`
	StateDir   string     `key:"state_dir" default:"/var/lib/tidemark" doc:"directory of the spool and of what must outlive a restart"`
	Status     Status     `key:"status"`
	Encryption Encryption `key:"encryption"`
	Clusters   []*Cluster `key:"clusters"` // by name

	file    string            // what was read, or ""
	origins map[string]Origin // by path, of what is not a default
}

// Status is the status port.
type Status struct {
	Listen string `key:"listen" default:"127.0.0.1:9306" doc:"address of the status port, host:port, or off"`
}

// Off reports whether there is to be no status port.
func (s Status) Off() bool { return s.Listen == "off" }

// Cluster is one replication history and how to reach it.
type Cluster struct {
	Name         string        // lower-case letters, digits, '-' and '_'
	Hosts        []Address     `key:"hosts" doc:"addresses of the servers of which one is the primary: host:port (port 3306 if left out), or the path of a Unix socket"`
	Follow       Follow        `key:"follow" default:"primary" doc:"which of several hosts is archived: primary (the one that takes writes) or any (the first in the list that has what is archived)"`
	User         string        `key:"user" doc:"account on the primary"`
	PasswordFile string        `key:"password_file" doc:"file that holds the password, not readable by everyone"`
	DefaultsFile string        `key:"defaults_file" doc:"client option file whose [client] section holds the password"`
	TLS          TLS           `key:"tls"`
	ServerID     uint32        `key:"server_id" default:"0" doc:"replica ID, unique among all replicas of the primary, or another one is taken; 0: chosen once and kept in state_dir"`
	Start        Start         `key:"start" default:"oldest" doc:"where a new archive begins: oldest (the first binlog the primary still has) or now"`
	Ack          Ack           `key:"ack" default:"none" doc:"when a semi-synchronous primary is told that a transaction is safe: none (never), spool (synced in state_dir) or archive (confirmed by the storage)"`
	ForkGrace    time.Duration `key:"fork_grace" default:"60s" doc:"how long a primary may lack transactions that are archived before its history becomes a timeline of its own"`
	Heartbeat    time.Duration `key:"heartbeat" default:"5s" doc:"how often an idle primary says that it is there; two that fail to come mean a dead connection, as do less than 64 KiB of an event"`
	Missing      []Missing     `key:"accept_missing" doc:"settings of the primary because of which its binlog lacks changes, each by its name: binlog_do_db, binlog_ignore_db, log_slave_updates (OFF, on a server that replicates); run refuses such a server otherwise"`
	Segment      Segment       `key:"segment"`
	Spool        Spool         `key:"spool"`
	Base         Base          `key:"base"`
	Verify       Verify        `key:"verify"`
	Retention    Retention     `key:"retention"`
	Compaction   Compaction    `key:"compaction"`
	Lease        Lease         `key:"lease"`

	passwords map[string]string // from the environment: "" for every cluster, or this one's name
}

// TLS secures the connections to the primary.
type TLS struct {
	Mode TLSMode `key:"mode" default:"auto" doc:"disabled, required (not authenticated), verify-ca, verify-identity, or auto: verify-identity, and disabled for loopback addresses and sockets"`
	CA   string  `key:"ca" doc:"file of the certificate authorities to trust (PEM) instead of the system's"`
	Cert string  `key:"cert" doc:"file of the client certificate (PEM)"`
	Key  string  `key:"key" doc:"file of its private key (PEM)"`
}

// Segment says when a segment is sealed.
type Segment struct {
	MaxAge  time.Duration `key:"max_age" default:"5s" doc:"a segment is sealed when it is older, which bounds what the archive may lag behind"`
	MaxSize Size          `key:"max_size" default:"64MiB" doc:"or when it is larger"`
}

// Spool bounds the disk that is used while the archive cannot be reached.
type Spool struct {
	MaxSize Size   `key:"max_size" default:"10GiB" doc:"when the spool is this large, reading from the primary stops until the archive can be reached again"`
	OnFull  OnFull `key:"on_full" default:"release" doc:"with ack, what becomes of the primary then: release (its connection is closed, and commits wait for us no longer than its own timeout) or hold (they wait)"`
}

// Base is how base backups are taken.
type Base struct {
	Engine   Engine   `key:"engine" default:"auto" doc:"what copies the server: mariadb-backup, clone or xtrabackup; auto: mariadb-backup for MariaDB, clone for MySQL"`
	DataDir  string   `key:"datadir" doc:"the server's data directory, if it is not the one the server names; not for clone"`
	Empty    bool     `key:"allow_empty_tables" default:"false" doc:"take base backups of MySQL though the rows of some tables, those that are not InnoDB's, are not in them"`
	Schedule Schedule `key:"schedule" doc:"when base backups are taken, five cron fields in UTC; empty: only the first one, and by tidemark backup"`
	PartSize Size     `key:"part_size" default:"1GiB" doc:"plain bytes in each stored part"`
	Threads  int      `key:"threads" default:"2" doc:"threads that copy, and that compress"`
}

// Verify is how run checks the archive.
type Verify struct {
	Schedule  Schedule `key:"schedule" doc:"when the archive is checked, five cron fields in UTC; empty: only by tidemark verify"`
	Data      Share    `key:"data" default:"5%" doc:"share of the data whose every byte is read each time, another one each time until all is read; all manifests and sizes are always checked"`
	Bandwidth Size     `key:"bandwidth" default:"16MiB" doc:"bytes a second that a check reads at most; 0: no limit"`
}

// Retention says how long the archive holds what.
type Retention struct {
	Window     time.Duration `key:"window" default:"0s" doc:"how far back every moment stays restorable; 0s, without max_backups: nothing ever expires"`
	MinBackups int           `key:"min_backups" default:"2" doc:"so many base backups stay, whatever their age"`
	MaxBackups int           `key:"max_backups" default:"0" doc:"no more base backups stay, unless the window or min_backups need them; 0: any number"`
	Grace      time.Duration `key:"grace" default:"24h" doc:"how long objects stay after they have expired, for restores that read them"`
	Schedule   Schedule      `key:"schedule" default:"30 4 * * *" doc:"when tidemark run deletes what has expired, five cron fields in UTC; empty: only tidemark expire does"`
}

// Compaction is how runs of small segments become one.
type Compaction struct {
	Size  Size          `key:"size" default:"256MiB" doc:"plain bytes of a compacted segment at most; run puts segments of up to an eighth of it together; 0: run compacts nothing"`
	Age   time.Duration `key:"age" default:"1h" doc:"time between its first and its last event at most"`
	Grace time.Duration `key:"grace" default:"24h" doc:"how long the segments it replaces stay, for restores that read them"`
}

// Lease is how two archivers of one cluster take turns.
type Lease struct {
	TTL time.Duration `key:"ttl" default:"60s" doc:"when an archiver is lost, another tidemark run for the same cluster goes on so much later; it is renewed three times in that time"`
}

// Never reports whether nothing ever expires.
func (r Retention) Never() bool { return r.Window == 0 && r.MaxBackups == 0 }

// Cluster returns the cluster of that name; with name "" the only one there is.
func (c *Config) Cluster(name string) (*Cluster, error) {
	i := slices.IndexFunc(c.Clusters, func(cl *Cluster) bool { return cl.Name == name })
	switch {
	case i >= 0:
		return c.Clusters[i], nil
	case name != "" && len(c.Clusters) > 0:
		e := fault.New(fault.Usage, "cluster", name, fmt.Errorf("it is not in %s", c.where()))
		return nil, e.WithHint("Name one of: " + strings.Join(c.names(), ", ") + ".")
	case name == "" && len(c.Clusters) == 1:
		return c.Clusters[0], nil
	case name == "" && len(c.Clusters) > 1:
		e := fault.New(fault.Usage, "", "", fmt.Errorf("%s has %d clusters and none is named", c.where(), len(c.Clusters)))
		return nil, e.WithHint("Name one of: " + strings.Join(c.names(), ", ") + ".")
	}
	return nil, c.incomplete("no cluster is configured",
		"Describe one in "+DefaultFile+" under clusters, or give --primary HOST:PORT and --user NAME.")
}

// NeedArchive returns an error when no archive is configured.
func (c *Config) NeedArchive() error {
	if c.Archive == "" {
		return c.incomplete("no archive is configured", "Write archive: file:///path into "+DefaultFile+", or give --archive file:///path.")
	}
	return nil
}

// NeedPrimary returns an error when what it takes to connect to the cluster's primary is missing.
func (c *Config) NeedPrimary(cl *Cluster) error {
	switch {
	case len(cl.Hosts) == 0:
		return c.incomplete("cluster "+cl.Name+" has no hosts", "Write hosts: [\"HOST:PORT\"] for it, or give --primary HOST:PORT.")
	case cl.User == "":
		return c.incomplete("cluster "+cl.Name+" has no user", "Write user: NAME for it, or give --user NAME.")
	}
	return nil
}

func (c *Config) incomplete(what, hint string) error {
	return fault.New(fault.Config, "", "", fmt.Errorf("%s: %s", c.where(), what)).WithHint(hint)
}

// where names the configuration in errors.
func (c *Config) where() string {
	if c.file == "" {
		return "the configuration"
	}
	return c.file
}

func (c *Config) names() []string {
	var names []string
	for _, cl := range c.Clusters {
		names = append(names, cl.Name)
	}
	return names
}
