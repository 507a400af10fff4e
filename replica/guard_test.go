package replica

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"tidemark/internal/fault"
)

// TestClearPassword has a server that wants the password in the clear: at once, by switching to it after
// a harmless beginning, and that in two pieces. It must not get it.
func TestClearPassword(t *testing.T) {
	const password = "s3cret-s3cret"
	switching := append([]byte{0xfe}, clearPlugin+"\x00"...)
	for _, tt := range []struct {
		name, plugin string
		pieces       [][]byte // of the packet that follows the client's answer
	}{
		{"named at once", clearPlugin, nil},
		{"switched to", "mysql_native_password", [][]byte{packet(2, switching)}},
		{"switched to in pieces", "mysql_native_password", [][]byte{packet(2, switching)[:12], packet(2, switching)[12:]}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			got := make(chan []byte, 1)
			go func() {
				conn, err := l.Accept()
				if err != nil {
					got <- nil
					return
				}
				defer conn.Close()
				_, _ = conn.Write(packet(0, greeting(tt.plugin)))
				answer := make([]byte, 4096)
				n, _ := conn.Read(answer)
				for _, p := range tt.pieces {
					_, _ = conn.Write(p)
					time.Sleep(20 * time.Millisecond)
				}
				_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
				rest, _ := io.ReadAll(conn)
				got <- append(answer[:n], rest...)
			}()
			_, err = Dial(context.Background(), Options{Host: l.Addr().String(), User: "u", Password: password, Timeout: 2 * time.Second})
			if !fault.Is(err, fault.Primary) || !strings.Contains(err.Error(), "in the clear") || !Refused(err) || !strings.Contains(fault.HintOf(err), "tls.mode") {
				t.Errorf("%v", err)
			}
			if sent := <-got; bytes.Contains(sent, []byte(password)) {
				t.Error("the server has the password")
			}
		})
	}
}

func packet(seq byte, payload []byte) []byte {
	n := len(payload)
	return append([]byte{byte(n), byte(n >> 8), byte(n >> 16), seq}, payload...)
}

// greeting is what a server says first.
func greeting(plugin string) []byte {
	const capabilities = 1<<0 | 1<<9 | 1<<15 | 1<<19 // long password, protocol 4.1, secure connection, plugins
	b := append([]byte{10}, "9.7.4\x00"...)
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = append(b, "12345678\x00"...)
	b = binary.LittleEndian.AppendUint16(b, capabilities&0xffff)
	b = append(b, 45, 2, 0)
	b = binary.LittleEndian.AppendUint16(b, capabilities>>16)
	b = append(b, 21)
	b = append(b, make([]byte, 10)...)
	b = append(b, "123456789012\x00"...)
	return append(append(b, plugin...), 0)
}
