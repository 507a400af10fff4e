package cloud

import (
	"context"
	"net"
	"net/http"
	"time"

	"tidemark/internal/clock"
)

// stall is how long nothing may come or go on a connection that is waited for.
const stall = time.Minute

// Transport returns what drivers send their requests with. See Tune.
func Transport() *http.Transport {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment}
	Tune(t)
	return t
}

// Tune makes a transport keep connections for many requests at a time, and wait for none that is dead.
// A long request has no deadline: it may take as long as bytes move.
func Tune(t *http.Transport) {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &conn{Conn: c}, nil
	}
	t.TLSHandshakeTimeout = 10 * time.Second
	t.MaxIdleConnsPerHost = 32
	t.IdleConnTimeout = stall - 5*time.Second
	// No HTTP/2, where one connection is all there is, and is read from even when nobody waits.
	t.ForceAttemptHTTP2 = false
}

// conn fails when nothing moves, either way, for as long as stall.
type conn struct{ net.Conn }

func (c *conn) Read(p []byte) (int, error) {
	if err := c.extend(); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *conn) Write(p []byte) (int, error) {
	if err := c.extend(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// extend lets the reader that waits for an answer wait on while the request is still being sent.
func (c *conn) extend() error { return c.SetDeadline(clock.System{}.Now().Add(stall)) }
