package replica

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/fault"
)

// acks is the way back of a semi-synchronous stream.
type acks struct {
	on     atomic.Bool // the server marks the events that it waits for
	writes sync.Mutex  // one packet at a time
}

// ackTimeout bounds how long an acknowledgement may wait in our own socket.
const ackTimeout = 10 * time.Second

// note keeps count of the bytes that the scanner has returned, and finds out whether the event in hand
// is to be acknowledged.
func (s *Stream) note(ev *binlog.Event) {
	p := s.packets
	if p.semi == semiOff {
		return
	}
	s.acks.on.Store(p.semi == semiOn)
	if ev.First {
		s.wanted = false
	}
	s.taken += uint64(len(ev.Data))
	n := 0
	for n < len(p.asked) && p.asked[n] < s.taken {
		s.wanted = true
		n++
	}
	p.asked = append(p.asked[:0], p.asked[n:]...)
}

// AckWanted reports whether a commit waits until the event in hand, the last of its transaction, is
// acknowledged.
func (s *Stream) AckWanted() bool { return s.wanted }

// SemiSync reports whether the server takes us for a semi-synchronous replica. That is known once the
// first event has come.
func (s *Stream) SemiSync() bool { return s.acks.on.Load() }

// Ack tells the primary that everything up to p, the end of an event of its files, is safe here.
func (s *Stream) Ack(p binlog.Point) error {
	b := make([]byte, 4, 16+len(p.File))
	b = append(b, semiMagic)
	b = binary.LittleEndian.AppendUint64(b, p.Offset)
	b = append(b, p.File...)
	b[0], b[1] = byte(len(b)-4), byte((len(b)-4)>>8) // and packet number 0
	s.acks.writes.Lock()
	defer s.acks.writes.Unlock()
	conn := s.conn.Conn.Conn
	err := conn.SetWriteDeadline(s.clock.Now().Add(ackTimeout))
	if err == nil {
		_, err = conn.Write(b)
	}
	if err != nil {
		return fault.New(fault.Primary, "acknowledge", p.String(), cause(err))
	}
	return nil
}
