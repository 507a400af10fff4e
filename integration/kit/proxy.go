package kit

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Trouble is what a Proxy does to connections, those there are and those that are made.
type Trouble int

// The troubles. All but Cut last until another one is set.
const (
	None    Trouble = iota
	Cut             // ends those there are, at once
	Silent          // accepts, and passes nothing on: as a machine that has lost its network
	Delayed         // passes on what the server says half a second late
	Trickle         // passes on a byte a second of what the server says
	Flip            // changes one bit of what the server says, somewhere in the next bytes
)

// String names it, for the log of a test.
func (t Trouble) String() string {
	return [...]string{"none", "cut", "silent", "delayed", "trickle", "flip"}[t]
}

// flipWithin is in how many bytes, at most, a bit is changed.
const flipWithin = 20_000

// Proxy is a TCP proxy before a server that makes trouble when it is told to.
type Proxy struct {
	Addr string // where it listens

	server string
	listen net.Listener
	mu     sync.Mutex
	is     Trouble
	change chan struct{} // closed when is changes
	flipIn int           // bytes until a bit is changed
	flips  int
	conns  map[net.Conn]bool // of both sides
	done   sync.WaitGroup
}

// NewProxy listens on a free port for connections to a server. The caller must Close it.
func NewProxy(server string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{Addr: l.Addr().String(), server: server, listen: l, change: make(chan struct{}), conns: map[net.Conn]bool{}}
	p.done.Go(p.accept)
	return p, nil
}

// Close ends all connections.
func (p *Proxy) Close() {
	_ = p.listen.Close()
	p.Set(Cut)
	p.done.Wait()
}

// Set makes trouble, or ends it.
func (p *Proxy) Set(t Trouble) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.is = t
	close(p.change)
	p.change = make(chan struct{})
	switch t {
	case Cut:
		for c := range p.conns {
			_ = c.(*net.TCPConn).SetLinger(0) // a reset, not an end
			_ = c.Close()
		}
		p.is = None
	case Flip:
		p.flipIn = rand.IntN(flipWithin)
	}
}

// Flips is how many bits were changed.
func (p *Proxy) Flips() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flips
}

func (p *Proxy) accept() {
	for {
		c, err := p.listen.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = c.Close()
			continue
		}
		p.mu.Lock()
		p.conns[c], p.conns[s] = true, true
		p.mu.Unlock()
		p.done.Go(func() { p.pass(c, s, false) })
		p.done.Go(func() { p.pass(s, c, true) })
	}
}

// pass copies what from says to the other side, until one of them ends.
func (p *Proxy) pass(from, to net.Conn, server bool) {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, from)
		_ = from.Close()
		_ = to.Close()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && p.forward(to, buf[:n], server) != nil {
			return
		}
		if err != nil {
			return
		}
	}
}

// forward passes bytes on as the trouble of the moment has it.
func (p *Proxy) forward(to io.Writer, b []byte, server bool) error {
	for len(b) > 0 {
		p.mu.Lock()
		is, change := p.is, p.change
		if is == Flip && server {
			if p.flipIn < len(b) {
				b[p.flipIn] ^= 1 << rand.IntN(8)
				p.is = None
				p.flips++
			}
			p.flipIn -= len(b)
		}
		p.mu.Unlock()
		n := len(b)
		switch {
		case is == Silent:
			<-change
			continue
		case is == Delayed && server:
			time.Sleep(500 * time.Millisecond)
		case is == Trickle && server:
			n = 1
			select {
			case <-change:
				continue
			case <-time.After(time.Second):
			}
		}
		if _, err := to.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
