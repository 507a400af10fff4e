package hostiletest

import (
	"net"
	"sync"
	"testing"
)

// Listen calls serve with each connection to the address that it returns, one goroutine each. A connection is
// closed when serve returns, and when the test ends.
func Listen(t testing.TB, serve func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	over := make(chan struct{})
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			served := make(chan struct{})
			serving.Go(func() {
				defer close(served)
				serve(conn)
			})
			serving.Go(func() {
				select {
				case <-served:
				case <-over:
				}
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		close(over)
		_ = l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

// Pair returns both ends of a connection over TCP. Both are closed when the test ends, if not before.
func Pair(t testing.TB) (ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if ours, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ours.Close() })
	if theirs, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = theirs.Close() })
	return ours, theirs
}
