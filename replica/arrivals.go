package replica

import (
	"context"
	"net"
	"time"

	"tidemark/internal/clock"
)

// arrivals tells how old the bytes just read from a connection can be. A heartbeat bears no time; it
// may have waited for minutes in the socket while the spool was full, with commits behind it. But
// what is read after the socket was empty has arrived since then, and was sent no earlier than the
// network takes.
type arrivals struct {
	clock clock.Clock
	empty time.Time // when the socket was last found empty
	since time.Time // what was read last has arrived after this; zero: not known
}

// watch makes a dialer whose connection is read through a.
func (a *arrivals) watch(dial dialer) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &watched{Conn: conn, a: a}, nil
	}
}

type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

type watched struct {
	net.Conn
	a *arrivals
}

// Read is Conn.Read. One that returns less than there was room for has emptied the socket.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.a.since = w.a.empty
		if n < len(p) {
			w.a.empty = w.a.clock.Now()
		}
	}
	return n, err
}
