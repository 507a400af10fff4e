package restore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strconv"

	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/internal/mysqld"
)

// Endpoint is where the restored server is reached that is left running.
type Endpoint struct {
	Socket string // path; server.sock in the target if ""
	Host   string // address to listen on, if there is a port; the loopback if ""
	Port   int    // 0: only the socket
}

// Server is the restored server that was left running, and how to use it.
type Server struct {
	PID        int    `json:"pid"`
	PIDFile    string `json:"pid_file"`
	Socket     string `json:"socket"`
	Address    string `json:"address,omitempty"` // host:port
	ServerID   uint32 `json:"server_id"`
	OptionFile string `json:"option_file"`
	Log        string `json:"log"`
	Connect    string `json:"connect"` // commands
	Stop       string `json:"stop"`
	Again      string `json:"start_again"`
}

// The longest path that a socket can have.
const maxSocket = 107

// checkStart finds out, before anything is written, whether a server can be started as asked.
func (r *run) checkStart() error {
	s := r.Start
	if s == nil {
		return nil
	}
	refuse := func(subject string, err error, hint string) error {
		return fault.New(fault.Usage, "start the restored server on", subject, err).WithHint(hint)
	}
	if s.Socket == "" {
		target, err := resolve(r.TargetDir)
		if err != nil {
			return err
		}
		s.Socket = filepath.Join(target, "server.sock")
	}
	var err error
	if s.Socket, err = filepath.Abs(s.Socket); err != nil {
		return err
	}
	if len(s.Socket) > maxSocket {
		return refuse(s.Socket, fmt.Errorf("the path of a socket has at most %d bytes", maxSocket), "Give a shorter one with --socket.")
	}
	if c, err := net.Dial("unix", s.Socket); err == nil {
		_ = c.Close()
		return refuse(s.Socket, errors.New("another server listens there"), "Give another path with --socket.")
	}
	if s.Port == 0 {
		return nil
	}
	if s.Host == "" {
		s.Host = "127.0.0.1"
	}
	address := net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
	l, err := net.Listen("tcp", address)
	if err != nil {
		return refuse(address, err, "Give a free port with --port, and an address of this machine with --bind-address.")
	}
	return l.Close()
}

// tidyUp does what is left to do after a restore that was interrupted when it was all but done.
func (r *run) tidyUp(ctx context.Context) error {
	if r.Start != nil {
		if err := r.work.makeDirs(); err != nil {
			return err
		}
		if err := r.chooseUser(ctx); err != nil {
			return err
		}
	}
	return r.leave(ctx)
}

// leave starts the server that stays, or moves the result into a service, if that is wanted, and removes what
// only a restore needs.
func (r *run) leave(ctx context.Context) error {
	if r.Start != nil {
		if err := r.phase(Leave, func() error { return r.startStanding(ctx) }); err != nil {
			return err
		}
	}
	if r.Service != nil {
		if err := r.moveIn(ctx); err != nil {
			return err
		}
		r.work.target = r.Service.datadir
	}
	return r.work.tidy()
}

func (r *run) startStanding(ctx context.Context) error {
	b := r.plan.base
	s := mysqld.Standing{Mysqld: r.Tools.Mysqld, Flavor: b.Flavor, User: r.user, Datadir: r.work.target, ServerID: freshID(r.plan.serverIDs),
		Socket: r.Start.Socket, Host: r.Start.Host, Port: r.Start.Port, Settings: r.settings(), Include: r.DefaultsExtraFile, Plugins: r.PluginDir}
	pid, err := s.Start(ctx)
	if err != nil {
		return err
	}
	client := "mariadb"
	if b.Flavor == gtid.MySQL {
		client = "mysql"
	}
	r.report.Server = &Server{PID: pid, PIDFile: s.PIDFile(), Socket: s.Socket, Address: s.Address(), ServerID: s.ServerID, OptionFile: s.OptionFile(), Log: s.Log(),
		Connect: client + " --socket=" + s.Socket, Stop: "kill $(cat " + s.PIDFile() + ")", Again: s.Command()}
	return nil
}

// freshID returns a server ID that occurs nowhere in the log, nor, most likely, on any other server.
func freshID(taken []uint32) uint32 {
	for {
		if id := 1<<31 + rand.Uint32N(1<<30); !slices.Contains(taken, id) {
			return id
		}
	}
}
