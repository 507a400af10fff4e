package replica

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"tidemark/internal/fault"
	"tidemark/internal/mysqld/hostiletest"
)

// TestClearPassword has a server that wants the password in the clear: at once, by switching to it after
// a harmless beginning, and that in two pieces. It must not get it.
func TestClearPassword(t *testing.T) {
	const password = "s3cret-s3cret"
	switching := hostiletest.Packet(2, append([]byte{0xfe}, clearPlugin+"\x00"...))
	for _, tt := range []struct {
		name, plugin string
		pieces       [][]byte // of the packet that follows the client's answer
	}{
		{"named at once", clearPlugin, nil},
		{"switched to", "mysql_native_password", [][]byte{switching}},
		{"switched to in pieces", "mysql_native_password", [][]byte{switching[:12], switching[12:]}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := make(chan []byte, 1)
			addr := hostiletest.Listen(t, func(conn net.Conn) {
				_, _ = conn.Write(hostiletest.Packet(0, hostiletest.Greeting(tt.plugin)))
				answer := make([]byte, 4096)
				n, _ := conn.Read(answer)
				for _, p := range tt.pieces {
					_, _ = conn.Write(p)
					time.Sleep(20 * time.Millisecond)
				}
				_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
				rest, _ := io.ReadAll(conn)
				got <- append(answer[:n], rest...)
			})
			_, err := Dial(context.Background(), Options{Host: addr, User: "u", Password: password, Timeout: 2 * time.Second})
			if !fault.Is(err, fault.Primary) || !strings.Contains(err.Error(), "in the clear") || !Refused(err) || !strings.Contains(fault.HintOf(err), "tls.mode") {
				t.Errorf("%v", err)
			}
			if sent := <-got; bytes.Contains(sent, []byte(password)) {
				t.Error("the server has the password")
			}
		})
	}
}
