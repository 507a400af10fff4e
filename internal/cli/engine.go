package cli

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/basebackup"
	"tidemark/internal/config"
	"tidemark/internal/daemon"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/replica"
)

// engine returns what copies a host of a cluster.
func (a *app) engine(cfg *config.Config, cl *config.Cluster, host config.Address, flavor gtid.Flavor) (basebackup.Engine, error) {
	o, err := daemon.Connection(cl, host)
	if err != nil {
		return nil, err
	}
	p := basebackup.Primary{User: o.User, Password: o.Password,
		Dial: func(ctx context.Context) (*client.Conn, error) { return replica.Dial(ctx, o) }}
	if host.Network == "unix" {
		p.Socket = host.Addr
	} else {
		name, port, err := net.SplitHostPort(host.Addr)
		if err != nil {
			return nil, err
		}
		p.Host = name
		if p.Port, err = strconv.Atoi(port); err != nil {
			return nil, err
		}
	}
	if mode := cl.TLS.ModeFor(host); mode != config.TLSDisabled {
		p.TLS = basebackup.TLS{On: true, Verify: mode != config.TLSRequired, CA: cl.TLS.CA, Cert: cl.TLS.Cert, Key: cl.TLS.Key}
	}
	which, err := engineFor(cl, flavor)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cfg.StateDir, cl.Name, "backup")
	switch which {
	case config.EngineClone:
		return &basebackup.MySQL{Primary: p, Clock: a.Clock, AllowEmptyTables: cl.Base.Empty}, nil
	case config.EngineXtraBackup:
		return &basebackup.XtraBackup{Primary: p, Datadir: cl.Base.DataDir, Threads: cl.Base.Threads, StateDir: dir,
			Clock: a.Clock, FS: durable.OS{}, AllowEmptyTables: cl.Base.Empty}, nil
	}
	return &basebackup.MariaDB{Primary: p, Datadir: cl.Base.DataDir, Threads: cl.Base.Threads, StateDir: dir, Clock: a.Clock, FS: durable.OS{}}, nil
}

// engineFor returns the engine that is configured, or an error if it cannot copy a server of that flavor.
func engineFor(cl *config.Cluster, flavor gtid.Flavor) (config.Engine, error) {
	able := []config.Engine{config.EngineMariaDB}
	if flavor == gtid.MySQL {
		able = []config.Engine{config.EngineClone, config.EngineXtraBackup}
	}
	switch e := cl.Base.Engine; {
	case e == config.EngineAuto || e == "":
		return able[0], nil
	case slices.Contains(able, e):
		return e, nil
	default:
		return "", fault.New(fault.Config, "copy "+flavor.String()+" with", string(e), errors.New("it copies servers of another kind")).
			WithHint("Set clusters." + cl.Name + ".base.engine to auto, which is " + string(able[0]) + " there.")
	}
}
