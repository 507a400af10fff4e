// Package replica is our connection to a primary: it registers as a replica under its own server
// ID and a persistent UUID, requests the binlog, and hands on the raw events with their offsets and
// transactions. It executes nothing, and it never kills, rotates or purges anything on the primary.
//
// A connection is dialled and authenticated by go-mysql's client; from the dump request on, the
// bytes are read by our own framer, in bounded memory and without an allocation per event.
package replica

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"

	"tidemark/internal/fault"
)

// Options of a connection.
type Options struct {
	Host     string // host:port, or the path of a unix socket
	User     string
	Password string
	TLS      *tls.Config   // nil: not encrypted
	Timeout  time.Duration // for connecting and for each answer; 0 means 10 s
	Dialer   func(ctx context.Context, network, address string) (net.Conn, error)

	arrivals *arrivals // told of every read; may be nil
}

// Dial connects and authenticates. The connection serves queries until it is closed. Errors are of
// kind Primary, with a hint.
func Dial(ctx context.Context, o Options) (*client.Conn, error) {
	timeout := o.Timeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	dial := o.Dialer
	if dial == nil {
		dial = (&net.Dialer{Timeout: timeout, KeepAlive: 15 * time.Second}).DialContext
	}
	if o.arrivals != nil {
		dial = o.arrivals.watch(dial)
	}
	var guard *guarded
	if o.TLS == nil && !strings.Contains(o.Host, "/") {
		dial = guardPassword(dial, &guard)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	network, secure := "tcp", o.TLS
	if strings.Contains(o.Host, "/") {
		network, secure = "unix", nil
	}
	conn, err := client.ConnectWithDialer(ctx, network, o.Host, o.User, o.Password, "", dial, func(c *client.Conn) error {
		c.ReadTimeout, c.WriteTimeout = timeout, timeout
		c.SetAttributes(map[string]string{"program_name": "tidemark"})
		if secure != nil {
			c.SetTLSConfig(secure)
		}
		return nil
	})
	if guard != nil && guard.refused {
		if err == nil {
			_ = conn.Close()
		}
		return nil, fault.New(fault.Primary, "connect to", o.Host, refused("the server asks for the password in the clear, and the connection is not encrypted")).
			WithHint("Set tls.mode to verify-identity or required, or give the account another authentication plugin.")
	}
	if err != nil {
		return nil, dialError(o, err)
	}
	if guard != nil {
		guard.over = true
	}
	return conn, nil
}

func dialError(o Options, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	f := fault.New(fault.Primary, "connect to", o.Host, cause(err))
	var my *mysql.MyError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.As(err, &my) && my.Code == mysql.ER_ACCESS_DENIED_ERROR:
		return f.WithHint("Check the user and its password file, that the account may connect from this host, and whether it needs TLS.")
	case errors.As(err, &unknown), errors.As(err, &name):
		return f.WithHint("Set tls.ca to the file of the authority that signed the server's certificate, or choose another tls.mode.")
	case strings.Contains(err.Error(), "TLS") || strings.Contains(err.Error(), "ssl"):
		return f.WithHint("If the server has no TLS and the network is trusted, set tls.mode to disabled.")
	}
	return f.WithHint("Check that the server runs and listens there; `tidemark check` tries every step.")
}

// cause strips the library's call trace from an error.
func cause(err error) error {
	var my *mysql.MyError
	if errors.As(err, &my) {
		return &ServerError{Code: my.Code, Message: my.Message}
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op
	}
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
