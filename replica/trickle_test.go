package replica

import (
	"net"
	"strings"
	"testing"
	"time"

	"tidemark/internal/clock"
)

// TestTrickle: a connection that brings a byte now and then is as dead as a silent one; one that brings
// whole packets as slowly is not.
func TestTrickle(t *testing.T) {
	const timeout = 300 * time.Millisecond
	read := func(packet []byte, each int) error {
		ours, theirs := net.Pipe()
		defer ours.Close()
		go func() {
			defer theirs.Close()
			for n := range byte(8) {
				packet[3] = n + 1
				for at := 0; at < len(packet); at += each {
					if _, err := theirs.Write(packet[at : at+each]); err != nil {
						return
					}
					time.Sleep(timeout / 6)
				}
			}
		}()
		p := newPackets(ours, clock.System{}, timeout, 1<<12)
		for b := make([]byte, 1<<12); ; {
			if _, err := p.Read(b); err != nil {
				return err
			}
		}
	}
	packet := append([]byte{60, 0, 0, 1, packetOK}, make([]byte, 59)...)
	if err := read(packet, 1); err == nil || !strings.Contains(err.Error(), "bytes received in") {
		t.Errorf("a byte at a time: %v", err)
	}
	if err := read(packet, len(packet)/2); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("half a packet at a time: %v", err)
	}
}
