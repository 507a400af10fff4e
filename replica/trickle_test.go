package replica

import (
	"strings"
	"testing"
	"time"

	"tidemark/internal/clock"
	"tidemark/internal/mysqld/hostiletest"
)

// TestTrickle: a connection that brings a byte now and then is as dead as a silent one; one that brings
// whole packets as slowly is not.
func TestTrickle(t *testing.T) {
	const timeout = 300 * time.Millisecond
	read := func(payload []byte, each int) error {
		s, begun := hostiletest.NewPackets(1), false
		for range 8 {
			s.Packet(payload)
		}
		conn := hostiletest.Send(s.Bytes(), func() int {
			if begun {
				time.Sleep(timeout / 6)
			}
			begun = true
			return each
		})
		defer conn.Close()
		p := newPackets(conn, clock.System{}, timeout, 1<<12)
		for b := make([]byte, 1<<12); ; {
			if _, err := p.Read(b); err != nil {
				return err
			}
		}
	}
	payload := make([]byte, 60) // packetOK, and what an event may be
	if err := read(payload, 1); err == nil || !strings.Contains(err.Error(), "bytes received in") {
		t.Errorf("a byte at a time: %v", err)
	}
	if err := read(payload, (4+len(payload))/2); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("half a packet at a time: %v", err)
	}
}
