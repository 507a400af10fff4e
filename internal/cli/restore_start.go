package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"tidemark/restore"
)

// startOptions say where the restored server is left running.
type startOptions struct {
	start  bool
	port   int
	socket string
	bind   string
	into   string
}

func (o *startOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.start, "start", false, "leave a server running on the result, as the old one's would: durable, with a binlog, and a server_id of its own")
	f.IntVar(&o.port, "port", 0, "with --start: TCP `port` of the server (default only its socket)")
	f.StringVar(&o.socket, "socket", "", "with --start: `path` of the server's socket (default server.sock in the directory)")
	f.StringVar(&o.into, "into-service", "", "put the result in place of the data directory of this stopped systemd `service`, and keep the old one")
	f.StringVar(&o.bind, "bind-address", "127.0.0.1", "with --port: `address` to listen on")
}

// endpoint is where the server is wanted; nil if none is.
func (o *startOptions) endpoint() (*restore.Endpoint, error) {
	switch {
	case !o.start && (o.port != 0 || o.socket != ""):
		return nil, usage("--port and --socket are for --start", "tidemark restore")
	case o.port < 0 || o.port > 65535:
		return nil, usage(fmt.Sprintf("--port %d is no port", o.port), "tidemark restore")
	case o.start && o.into != "":
		return nil, usage("--start and --into-service exclude each other: the service is started by systemctl", "tidemark restore")
	case !o.start:
		return nil, nil
	}
	return &restore.Endpoint{Socket: o.socket, Host: o.bind, Port: o.port}, nil
}

// service is what the result is to be moved into; nil if nothing.
func (o *startOptions) service() *restore.Service {
	if o.into == "" {
		return nil
	}
	return &restore.Service{Name: o.into}
}

// server shows the server that was left running.
func server(t *text, s *restore.Server) {
	t.title("the restored server runs")
	t.line("  connect            %s", s.Connect)
	if s.Address != "" {
		t.line("  address            %s", s.Address)
	}
	t.line("  process            %d, in %s", s.PID, s.PIDFile)
	t.line("  server_id          %d", s.ServerID)
	t.line("  options            %s", s.OptionFile)
	t.line("  log                %s", s.Log)
	t.line("  stop               %s", s.Stop)
	t.line("  start again        %s", s.Again)
}

// guides show what the restored server can be made.
func guides(t *text, all []restore.Guide) {
	for _, g := range all {
		t.title("%s", g.Text)
		for _, s := range g.Statements {
			t.line("  %s;", s)
		}
		for _, c := range g.Commands {
			t.line("  $ %s", c)
		}
	}
}
