package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"tidemark/internal/clock"
	"tidemark/internal/fault"
)

// Largest payload of one packet; a longer one goes on in the next packet.
const maxPayload = 1<<24 - 1

const (
	packetOK  = 0x00
	packetEOF = 0xfe
	packetErr = 0xff
)

// packets turns the packets of a dump into the bytes of the events in them, one after another, as
// in a binlog file. Each packet is a 3-byte length, a sequence number, a status byte and an event;
// an event of 16 MiB and more goes on in packets without a status byte. To a semi-synchronous
// replica there are two more bytes before each event, which say whether it is to be acknowledged.
type packets struct {
	conn     net.Conn
	clock    clock.Clock
	timeout  time.Duration // without progress: two heartbeats
	patience time.Duration // what is left of it; only waiting counts, not what we do meanwhile
	slow     int           // bytes since the last progress
	buf      []byte
	at, end  int
	left     int  // bytes of the current packet still to come
	goesOn   bool // the next packet continues this event
	seq      byte // expected next
	restart  bool // or else 1: a server that waits for an acknowledgement counts anew

	semi  semi
	out   uint64   // event bytes handed out
	asks  bool     // the event in hand is to be acknowledged
	asked []uint64 // what out was before each event that is to be acknowledged, oldest first
}

// semi says whether events bear the two bytes of semi-synchronous replication. A server without its
// plugin leaves them out, also when they were asked for; the first event tells.
type semi int

const (
	semiOff     semi = iota // not asked for
	semiUnknown             // asked for, and nothing has come yet
	semiOn
)

// progress is so many bytes, or a packet begun. A connection that brings less within the timeout is as good
// as dead, though it never falls silent.
const progress = 64 << 10

const (
	semiMagic = 0xef
	semiAck   = 1
)

func newPackets(conn net.Conn, clk clock.Clock, timeout time.Duration, buffer int) *packets {
	return &packets{conn: conn, clock: clk, timeout: timeout, patience: timeout, buf: make([]byte, buffer), seq: 1}
}

// Read returns event bytes, waiting only when it has none.
func (p *packets) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		if p.left == 0 {
			ready, err := p.header()
			if err != nil {
				return n, err
			}
			if !ready {
				if n > 0 {
					return n, nil
				}
				if err := p.fill(); err != nil {
					return 0, err
				}
				continue
			}
		}
		if p.at == p.end {
			if n > 0 {
				return n, nil
			}
			if err := p.fill(); err != nil {
				return 0, err
			}
		}
		m := copy(b[n:], p.buf[p.at:min(p.end, p.at+p.left)])
		n += m
		p.at += m
		p.left -= m
		p.out += uint64(m)
	}
	return n, nil
}

// header begins the next packet, if enough of it is here.
func (p *packets) header() (bool, error) {
	have := p.end - p.at
	if have < 5 {
		return false, nil
	}
	if p.semi != semiOff && !p.goesOn && have < 7 && p.buf[p.at+4] == packetOK {
		return false, nil
	}
	size := int(p.buf[p.at]) | int(p.buf[p.at+1])<<8 | int(p.buf[p.at+2])<<16
	seq := p.buf[p.at+3]
	if seq != p.seq && !(p.restart && seq == 1) {
		return false, fmt.Errorf("packet %d where packet %d is expected", seq, p.seq)
	}
	if !p.goesOn {
		if size == 0 {
			return false, errors.New("empty packet in the stream")
		}
		switch status := p.buf[p.at+4]; status {
		case packetOK:
		case packetErr, packetEOF:
			if have < 4+size {
				return false, nil
			}
			return false, serverError(p.buf[p.at+4 : p.at+4+size])
		default:
			return false, fmt.Errorf("packet with status byte %#x in the stream", status)
		}
		extra, err := p.semiSync(size)
		if err != nil {
			return false, err
		}
		p.at += 1 + extra // the status byte, and theirs
		p.left = size - 1 - extra
	} else {
		p.left = size
	}
	p.at += 4
	p.patience, p.slow = p.timeout, 0
	p.seq, p.restart = seq+1, false
	p.goesOn = size == maxPayload
	if !p.goesOn {
		p.restart, p.asks = p.asks, false
	}
	return true, nil
}

// semiSync reads the two bytes of semi-synchronous replication at the beginning of an event, if they
// are there, and returns how many they are.
func (p *packets) semiSync(size int) (int, error) {
	if p.semi == semiOff {
		return 0, nil
	}
	magic := size > 3 && p.buf[p.at+5] == semiMagic
	if p.semi == semiUnknown { // the first event is made up and has no time: it begins with a zero
		if p.semi = semiOff; magic {
			p.semi = semiOn
		}
	}
	switch {
	case p.semi == semiOff:
		return 0, nil
	case !magic:
		return 0, errors.New("packet without the bytes of semi-synchronous replication")
	case p.buf[p.at+6] == semiAck:
		p.asks = true
		p.asked = append(p.asked, p.out)
	}
	return 2, nil
}

// fill waits for more bytes from the server, as long as there is progress.
func (p *packets) fill() error {
	if p.at == p.end {
		p.at, p.end = 0, 0
	} else if p.end == len(p.buf) {
		p.end = copy(p.buf, p.buf[p.at:p.end])
		p.at = 0
	}
	began := p.clock.Now()
	if err := p.conn.SetReadDeadline(began.Add(p.patience)); err != nil {
		return fault.New(fault.Primary, "read the binlog", "", err)
	}
	n, err := p.conn.Read(p.buf[p.end:])
	p.end += n
	if n > 0 {
		p.patience -= p.clock.Now().Sub(began)
		if p.slow += n; p.slow >= progress {
			p.patience, p.slow = p.timeout, 0
		}
		return nil
	}
	var ne net.Error
	switch {
	case errors.As(err, &ne) && ne.Timeout() && p.slow > 0:
		return fault.New(fault.Primary, "read the binlog", "", fmt.Errorf("no more than %d bytes received in %s", p.slow, p.timeout))
	case errors.As(err, &ne) && ne.Timeout():
		return fault.New(fault.Primary, "read the binlog", "", fmt.Errorf("nothing received for %s, not even a heartbeat", p.timeout))
	case err == io.EOF:
		return fault.New(fault.Primary, "read the binlog", "", errors.New("the server closed the connection"))
	case err == nil:
		return io.ErrNoProgress
	}
	return fault.New(fault.Primary, "read the binlog", "", err)
}

// ServerError is what the server said when it ended or refused the dump.
type ServerError struct {
	Code    uint16
	Message string
}

// Error returns the server's words.
func (e *ServerError) Error() string { return fmt.Sprintf("error %d: %s", e.Code, e.Message) }

func serverError(payload []byte) error {
	if payload[0] == packetEOF || len(payload) < 3 {
		return fault.New(fault.Primary, "read the binlog", "", errors.New("the server ended the stream"))
	}
	e := &ServerError{Code: binary.LittleEndian.Uint16(payload[1:])}
	msg := payload[3:]
	if len(msg) >= 6 && msg[0] == '#' {
		msg = msg[6:]
	}
	e.Message = string(msg)
	return refusal(e)
}
