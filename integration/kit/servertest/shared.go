package servertest

import (
	"fmt"
	"sync"
)

// Shared returns a primary of default options, with the account User of the password given, that other tests
// of the process may use at the same time. It starts with the first test that asks and ends with the last
// one. It is for tests that only need *a* primary: they have databases of their own (Database), do not stop
// it, set its global variables or purge its log, and expect that transactions of others lie between theirs.
func Shared(tb TB, b Binaries, password string) *Server {
	tb.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	held := shared.servers[b.Mysqld]
	if held == nil {
		p, err := Launch(Options{ServerID: 7, Binaries: b})
		if err == nil {
			err = p.CreateUser(User, password)
		}
		if err != nil {
			tb.Fatalf("%v", err)
		}
		held = &sharedServer{process: p}
		shared.servers[b.Mysqld] = held
	}
	held.users++
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("log of the shared server in %s:\n%s", held.process.Dir, held.process.LogTail(200))
		}
		if err := held.leave(b.Mysqld); err != nil {
			tb.Logf("%v", err)
		}
	})
	return &Server{Process: held.process, tb: tb}
}

// Database makes a database that no other test uses, and returns its name.
func (s *Server) Database() string {
	s.tb.Helper()
	shared.mu.Lock()
	shared.databases++
	name := fmt.Sprintf("own_%d", shared.databases)
	shared.mu.Unlock()
	s.Exec("CREATE DATABASE " + name)
	return name
}

// shared are the servers of this process that tests use together, by the path of their program.
var shared = struct {
	mu        sync.Mutex
	servers   map[string]*sharedServer
	databases int
}{servers: map[string]*sharedServer{}}

type sharedServer struct {
	process *Process
	users   int // tests that have not ended; under shared.mu
}

// leave ends the server when nobody uses it any more.
func (h *sharedServer) leave(program string) error {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if h.users--; h.users > 0 {
		return nil
	}
	delete(shared.servers, program)
	return h.process.Close()
}
