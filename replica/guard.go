package replica

import (
	"bytes"
	"context"
	"errors"
	"net"
)

// guarded is a connection without TLS on which the password must not go in the clear. Any server, or
// whoever stands between, can ask for that by naming a plugin, and the client library obeys. Then the
// connection fails before an answer is sent.
type guarded struct {
	net.Conn
	over    bool   // authenticated: what comes now is not looked at
	seen    []byte // the end of what has come, as a name may come in two pieces
	refused bool
}

const clearPlugin = "mysql_clear_password"

var errClear = errors.New("the server asks for the password in the clear")

// guardPassword makes a dialer whose connection is guarded; it is left in g.
func guardPassword(dial dialer, g **guarded) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		*g = &guarded{Conn: conn}
		return *g, nil
	}
}

// Read is Conn.Read, until the plugin is named.
func (c *guarded) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.over || n == 0 {
		return n, err
	}
	c.seen = append(c.seen, p[:n]...)
	if bytes.Contains(c.seen, []byte(clearPlugin)) {
		c.refused = true
		return 0, errClear
	}
	c.seen = c.seen[max(0, len(c.seen)-len(clearPlugin)):]
	return n, err
}
