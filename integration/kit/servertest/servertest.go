// Package servertest runs real database servers for tests and demonstrations: each in a
// directory of its own, on a free loopback port and a Unix socket, with the binlog on.
// It touches no server of the machine and needs no root.
//
// In a test:
//
//	srv := servertest.Start(t, servertest.Options{ServerID: 7, Extra: []string{"--max-binlog-size=1M"}})
//	srv.Exec("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)")
//	srv.CreateUser(servertest.User, "secret") // the account that archives, with the least it needs
//	srv.Kill()                                // as a crash does
//	srv.Restart()                             // same data, same address
//	got := srv.Value("SELECT COUNT(*) FROM shop.t")
//
// Start ends the server, and shows its log if the test failed, by itself. A missing program
// skips the test and names it; with TIDEMARK_MUST_RUN=1 in the environment it fails instead.
// TIDEMARK_TEST_PREFIX names a directory of other programs (another version or flavor).
//
// A test that should hold on every version and flavor runs its scenario by Each, which hands it
// the programs of one after the other:
//
//	servertest.Each(t, servertest.MariaDB, func(t *testing.T, b servertest.Binaries) {
//		srv := servertest.Start(t, servertest.Options{Binaries: b})
//	}, "mariadb-backup")
//
// In a program, Launch does the same with errors returned; the caller must Close:
//
//	p, err := servertest.Launch(servertest.Options{})
//	defer p.Close()
//
// The account root has no password and is let in through the socket only, which lies in a
// directory nobody else may enter. Started by root, the server runs as root.
//
// A first start of a server version makes a data directory in the user's cache and keeps it
// there; later ones copy it, which takes some tens of milliseconds.
package servertest

import (
	"os"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
)

// User is the customary name of the account that archives.
const User = "tidemark"

// TB is the part of testing.TB that is used here.
type TB interface {
	Helper()
	Cleanup(func())
	Failed() bool
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// Server is a Process whose methods end the test instead of returning an error.
type Server struct {
	*Process
	tb TB
}

// Start runs a server until the test ends. It skips the test when the server is not installed.
func Start(tb TB, o Options) *Server {
	tb.Helper()
	if o.Binaries.Mysqld == "" {
		o.Binaries = Require(tb)
	}
	p, err := Launch(o)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("log of server %d in %s:\n%s", p.ServerID, p.Dir, p.LogTail(200))
		}
		if err := p.Close(); err != nil {
			tb.Logf("%v", err)
		}
	})
	return &Server{Process: p, tb: tb}
}

// Require returns the programs of the prefix that TIDEMARK_TEST_PREFIX names, or of PATH.
// It skips the test, or fails it if TIDEMARK_MUST_RUN=1, when the server or a program named
// ("mariadb-backup", "mbstream", "mariadb-binlog", "mariadb") is not there.
func Require(tb TB, programs ...string) Binaries {
	tb.Helper()
	b, err := Find(os.Getenv("TIDEMARK_TEST_PREFIX"))
	if err == nil {
		err = b.Has(programs...)
	}
	if err != nil {
		unavailable(tb, err)
	}
	return b
}

// Exec runs the statements as root, in one session.
func (s *Server) Exec(sql ...string) {
	s.tb.Helper()
	s.must(s.Process.Exec(sql...))
}

// Query returns the rows of a query by root, as text; NULL is "NULL".
func (s *Server) Query(sql string) [][]string {
	s.tb.Helper()
	rows, err := s.Process.Query(sql)
	s.must(err)
	return rows
}

// Value returns the first column of the first row of a query by root.
func (s *Server) Value(sql string) string {
	s.tb.Helper()
	v, err := s.Process.Value(sql)
	s.must(err)
	return v
}

// Position is the GTID position of the server's own log, on MySQL its executed set in one line.
func (s *Server) Position() string {
	s.tb.Helper()
	v, err := s.Process.Position()
	s.must(err)
	return v
}

// LogEnd is the binlog that is written, and where it ends.
func (s *Server) LogEnd() (file string, offset uint64) {
	s.tb.Helper()
	file, offset, err := s.Process.LogEnd()
	s.must(err)
	return file, offset
}

// Rotate begins a new binlog, and returns when nothing but what is written next will be added to it: MariaDB
// adds an event a moment later, when it needs the earlier ones no more. Nobody writes meanwhile.
func (s *Server) Rotate() {
	s.tb.Helper()
	s.Exec("FLUSH BINARY LOGS")
	if s.Binaries.Flavor == MySQL {
		return
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		file, _ := s.LogEnd()
		for _, event := range s.Query("SHOW BINLOG EVENTS IN " + quote(file)) {
			if event[2] == "Binlog_checkpoint" && event[5] == file {
				return
			}
		}
	}
	s.tb.Fatalf("server %d: there is no checkpoint in its new binlog after a minute", s.ServerID)
}

// Conn opens a session of root that is closed when the test ends.
func (s *Server) Conn() *client.Conn {
	s.tb.Helper()
	c, err := s.Process.Conn()
	s.must(err)
	s.tb.Cleanup(func() { _ = c.Quit() })
	return c
}

// CreateUser makes an account with the privileges that archiving needs.
func (s *Server) CreateUser(name, password string) {
	s.tb.Helper()
	s.must(s.Process.CreateUser(name, password))
}

// Stop shuts the server down cleanly.
func (s *Server) Stop() {
	s.tb.Helper()
	s.must(s.Process.Stop())
}

// Kill ends the server at once, as a crash does.
func (s *Server) Kill() {
	s.tb.Helper()
	s.must(s.Process.Kill())
}

// Restart stops the server if it runs, and starts it on the same data, port and socket with
// the options added, for good, to its own.
func (s *Server) Restart(extra ...string) {
	s.tb.Helper()
	s.must(s.Process.Restart(extra...))
}

func (s *Server) must(err error) {
	s.tb.Helper()
	if err != nil {
		s.tb.Fatalf("server %d: %s", s.ServerID, strings.TrimSpace(err.Error()))
	}
}
