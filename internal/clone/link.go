package clone

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"tidemark/internal/clock"
)

// maxPacket is the largest packet that is taken, in bytes. Donors send a MiB at most.
const maxPacket = 8 << 20

// link is one connection to the donor, once it is authenticated: packets of a 3-byte length, a
// sequence number that this protocol leaves at 0, and a payload that begins with a code.
type link struct {
	conn    net.Conn
	in      *bufio.Reader
	clock   clock.Clock
	silence time.Duration
	buf     []byte
}

func newLink(conn net.Conn, o Options) *link {
	l := &link{conn: conn, clock: o.Clock, silence: o.Silence}
	l.in = bufio.NewReaderSize(deadlines{l}, 64<<10)
	return l
}

// deadlines lets each read of the connection wait as long as the donor may be silent.
type deadlines struct{ *link }

func (d deadlines) Read(p []byte) (int, error) {
	if err := d.conn.SetReadDeadline(d.clock.Now().Add(d.silence)); err != nil {
		return 0, err
	}
	return d.conn.Read(p)
}

// send sends one packet.
func (l *link) send(code byte, payload ...byte) error {
	n := 1 + len(payload)
	packet := append([]byte{byte(n), byte(n >> 8), byte(n >> 16), 0, code}, payload...)
	if err := l.conn.SetWriteDeadline(l.clock.Now().Add(l.silence)); err != nil {
		return err
	}
	if _, err := l.conn.Write(packet); err != nil {
		return l.lost(err)
	}
	return nil
}

// receive returns the next packet; the body is good until the next call. What the donor says of its
// failure is returned as an error.
func (l *link) receive() (code byte, body []byte, err error) {
	var header [4]byte
	if _, err := io.ReadFull(l.in, header[:]); err != nil {
		return 0, nil, l.lost(err)
	}
	n := int(header[0]) | int(header[1])<<8 | int(header[2])<<16
	if n == 0 || n > maxPacket {
		return 0, nil, fmt.Errorf("the server sent a packet of %d bytes", n)
	}
	if cap(l.buf) < n {
		l.buf = make([]byte, n)
	}
	p := l.buf[:n]
	if _, err := io.ReadFull(l.in, p); err != nil {
		return 0, nil, l.lost(err)
	}
	switch code, body = p[0], p[1:]; code {
	case plainError:
		return 0, nil, parsePlainError(body)
	case resError:
		return 0, nil, parseError(body)
	}
	return code, body, nil
}

// lost names what a failed connection means here.
func (l *link) lost(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return errCut
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the server was silent for %s in the middle of the copy", l.silence)
	}
	return err
}

// parseError reads the clone protocol's own error: a number, then the message.
func parseError(b []byte) error {
	if len(b) < 4 {
		return fmt.Errorf("the server reported an error of %d bytes", len(b))
	}
	return &DonorError{Code: binary.LittleEndian.Uint32(b), Message: printable(b[4:])}
}

// parsePlainError reads an error as any command may end with: number, a state behind '#', message.
func parsePlainError(b []byte) error {
	if len(b) < 2 {
		return fmt.Errorf("the server reported an error of %d bytes", len(b))
	}
	code := binary.LittleEndian.Uint16(b)
	if b = b[2:]; len(b) >= 6 && b[0] == '#' {
		b = b[6:]
	}
	return &DonorError{Code: uint32(code), Message: printable(b)}
}
