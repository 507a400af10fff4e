package mysqld

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"

	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/internal/variables"
)

// Standing is a server that is started to stay: unlike a Server it outlives this process, has its data's own
// accounts only, writes a binlog, and is durable. All that it is told stands in one option file in its data
// directory, by which it can be started again.
type Standing struct {
	Mysqld   string // the program
	Flavor   gtid.Flavor
	User     User   // who runs it, and owns Datadir
	Datadir  string // absolute
	ServerID uint32
	Socket   string            // absolute
	Host     string            // to listen on; "" with Port 0
	Port     int               // 0: only the socket
	Settings map[string]string // variables recorded with the data; see Settings
	Include  string            // the user's option file, which comes before what only this server can be told; none if ""
	Plugins  string            // directory; the program's own if ""
}

// OptionFile is the path of the option file.
func (s Standing) OptionFile() string { return filepath.Join(s.Datadir, "server.cnf") }

// PIDFile is the path of the file that holds the process ID while the server runs.
func (s Standing) PIDFile() string { return filepath.Join(s.Datadir, "server.pid") }

// Log is the path of the server's log.
func (s Standing) Log() string { return filepath.Join(s.Datadir, "server.err") }

// Address is host:port; "" if there is only the socket.
func (s Standing) Address() string {
	if s.Port == 0 {
		return ""
	}
	return net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
}

// Command starts the server again.
func (s Standing) Command() string { return s.Mysqld + " --defaults-file=" + s.OptionFile() }

// Start writes the option file and starts the server, in a session of its own. It returns the process ID when
// the server answers; when ctx ends before that, the server is shut down.
func (s Standing) Start(ctx context.Context) (int, error) {
	pid, err := s.start(ctx)
	if err != nil {
		return 0, fault.New(fault.Other, "start a server on", s.Datadir, err).
			WithHint("The data is restored. Start it yourself: " + s.Command())
	}
	return pid, nil
}

func (s Standing) start(ctx context.Context) (int, error) {
	options, err := s.options()
	if err != nil {
		return 0, err
	}
	if err := durable.WriteFileAtomic(durable.OS{}, s.OptionFile(), []byte(options)); err != nil {
		return 0, err
	}
	log, err := openLog(s.Log())
	if err != nil {
		return 0, err
	}
	defer log.Close()
	if err := s.User.Own(s.OptionFile(), s.Log()); err != nil {
		return 0, err
	}
	cmd := exec.Command(s.Mysqld, "--defaults-file="+s.OptionFile())
	cmd.Dir, cmd.Env = s.Datadir, s.environment()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if s.User.other() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(s.User.UID), Gid: uint32(s.User.GID)}
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
		close(exited)
	}()
	for {
		if s.answers(ctx) {
			return cmd.Process.Pid, nil
		}
		select {
		case <-ctx.Done():
			_ = cmd.Process.Signal(syscall.SIGTERM)
			<-exited
			return 0, ctx.Err()
		case <-exited:
			return 0, fmt.Errorf("it ended: %s; its log ends:\n%s", cmd.ProcessState, LogTail(s.Log(), logLines))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// answers reports whether the server takes logins, ours or not.
func (s Standing) answers(ctx context.Context) bool {
	conn, err := dial(ctx, s.Socket, NewAccount(), "")
	if err == nil {
		_ = conn.Close()
		return true
	}
	var refused *mysql.MyError
	return errors.As(err, &refused)
}

// environment is ours without what may be secret and is not meant for a server.
func (s Standing) environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return !slices.Contains([]string{"PATH", "HOME", "LANG", "TZ"}, name) && !strings.HasPrefix(name, "LC_") && !strings.HasPrefix(name, "LD_")
	})
	return append(env, zoneByName(s.Settings)...)
}

// options is the option file. What comes later wins: so the user's own file goes over what was recorded with
// the data, and what must not be another server's over both.
func (s Standing) options() (string, error) {
	recorded, err := variables.KeptOptions(s.Flavor, s.Settings)
	if err != nil {
		return "", err
	}
	lines, err := optionLines(recorded)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	set := func(name, value string) { b.WriteString(optionLine(name, value)) }
	fmt.Fprintf(&b, "# Written when this data was restored. The server was started, and is again, by\n#   %s\n\n[mysqld]\n%s", s.Command(), lines)
	set("event-scheduler", "OFF") // what is to run here is to be decided first
	if s.Flavor == gtid.MySQL {
		set("mysqlx", "OFF")
		set("secure-file-priv", "NULL")
	} else {
		set("binlog-format", "ROW")
	}
	if s.Plugins != "" {
		set("plugin-dir", s.Plugins)
	}
	if s.Include != "" {
		include, err := filepath.Abs(s.Include)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "\n!include %s\n\n[mysqld]\n", include)
	}
	set("datadir", s.Datadir)
	inside, err := LayoutArgs(s.Settings)
	if err != nil {
		return "", err
	}
	for _, arg := range append(inside, insideArgs(s.Flavor == gtid.MySQL)...) {
		name, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		set(name, value)
	}
	set("socket", s.Socket)
	set("pid-file", s.PIDFile())
	set("log-error", s.Log())
	set("server-id", fmt.Sprint(s.ServerID))
	set("log-bin", "binlog")
	set("log-bin-index", "binlog.index")
	set("relay-log", "relay")
	set("relay-log-index", "relay.index")
	if os.Getuid() == 0 {
		set("user", s.User.Name)
	}
	if s.Port == 0 {
		set("skip-networking", "ON")
	} else {
		set("skip-networking", "OFF")
		set("bind-address", s.Host)
		set("port", strconv.Itoa(s.Port))
	}
	if s.Flavor == gtid.MySQL {
		set("gtid-mode", "ON")
		set("enforce-gtid-consistency", "ON")
	} else {
		set("log-slave-updates", "ON") // so that what it replicates can be archived and replicated from it
	}
	return b.String(), nil
}
