package clone

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"tidemark/internal/clock"
)

// comClone turns a session into one of the clone protocol.
const comClone = 0x20

// What the recipient sends.
const (
	comInit    = 0x01
	comExecute = 0x04
	comAck     = 0x05
	comExit    = 0x06
)

// What the donor sends.
const (
	resLocators   = 0x01
	resDescriptor = 0x02
	resData       = 0x03
	resComplete   = 0x63
	resError      = 0x64

	plainOK    = 0x00
	plainError = 0xff
)

const (
	// protocolVersion is the newest protocol that is spoken here: 1.3 as MySQL counts.
	protocolVersion = 0x0103
	// ddlTimeout is how long the donor waits for DDL statements when it goes from one state to the next.
	ddlTimeout = 5 * time.Minute
	// withoutLock lets DDL go on beside the copy: the donor reports files that are renamed or dropped.
	withoutLock = 1 << 31
	// engineInnoDB is the donor's number of the one storage engine that can be cloned.
	engineInnoDB = 0x0c
	// locatorRoom is the size of the place for an engine's locator in the first request.
	locatorRoom = 128
)

// donor is the server that is copied.
type donor struct {
	data, ack *link
	layout    *layout
	protocol  uint32 // that the donor chose
	locator   []byte // names the donor's snapshot
}

func (d *donor) copy(w *writer, clk clock.Clock) error {
	for _, l := range []*link{d.data, d.ack} {
		if err := l.send(comClone); err != nil {
			return err
		}
		if code, _, err := l.receive(); err != nil {
			return err
		} else if code != plainOK {
			return unexpected(code)
		}
	}
	if err := d.begin(); err != nil {
		return err
	}
	if err := w.begin(clk.Now(), d.protocol, d.locator); err != nil {
		return err
	}
	if err := d.data.send(comExecute); err != nil {
		return err
	}
	for more := true; more; {
		var err error
		if more, err = d.step(w); err != nil {
			return err
		}
	}
	if err := d.layout.finished(); err != nil {
		return fmt.Errorf("the server called an unfinished copy complete: %w", err)
	}
	if err := w.end(clk.Now()); err != nil {
		return err
	}
	d.leave()
	return nil
}

// begin lets the donor prepare a snapshot, whose locator it returns.
func (d *donor) begin() error {
	le := binary.LittleEndian
	request := le.AppendUint32(nil, protocolVersion)
	request = le.AppendUint32(request, uint32(ddlTimeout/time.Second)|withoutLock)
	request = append(request, engineInnoDB)
	request = le.AppendUint32(request, locatorRoom)
	locator := make([]byte, locatorRoom)
	be := binary.BigEndian
	be.PutUint32(locator, descVersion)
	be.PutUint32(locator[4:], locatorSize)
	be.PutUint32(locator[8:], descLocator)
	if err := d.data.send(comInit, append(request, locator...)...); err != nil {
		return err
	}
	for {
		code, body, err := d.data.receive()
		switch {
		case err != nil:
			return err
		case code == resLocators:
			if err := d.readLocator(body); err != nil {
				return err
			}
		case code == resComplete && d.locator == nil:
			return errors.New("the server named no snapshot")
		case code == resComplete:
			return nil
		}
		// The rest tells a recipient server how it must be configured.
	}
}

func (d *donor) readLocator(b []byte) error {
	le := binary.LittleEndian
	const head = 4 + 1 + 4
	if len(b) < head || b[4] != engineInnoDB || uint64(le.Uint32(b[5:])) > uint64(len(b)-head) {
		return fmt.Errorf("the server named its snapshot in %d bytes that are not understood", len(b))
	}
	d.protocol = le.Uint32(b)
	if d.protocol>>8 != protocolVersion>>8 || d.protocol > protocolVersion {
		return fmt.Errorf("the server speaks version %#x of the clone protocol", d.protocol)
	}
	d.locator = bytes.Clone(b[head : head+le.Uint32(b[5:])])
	return nil
}

// step takes one packet of the copy; more is false when it was the last.
func (d *donor) step(w *writer) (more bool, err error) {
	code, body, err := d.data.receive()
	if err != nil {
		return false, err
	}
	switch code {
	case resDescriptor:
		const head = 2
		if len(body) < head || body[0] != engineInnoDB {
			return false, errors.New("the server described files of an unknown storage engine")
		}
		desc := body[head:]
		over, err := d.layout.descriptor(desc)
		if err != nil {
			return false, err
		}
		if err := w.descriptor(desc); err != nil {
			return false, err
		}
		if over {
			return true, d.acknowledge(desc)
		}
		return true, nil
	case resData:
		if _, _, err := d.layout.data(len(body)); err != nil {
			return false, err
		}
		return true, w.data(body)
	case resComplete:
		return false, nil
	}
	return false, unexpected(code)
}

// acknowledge tells the donor that the state which desc ends has arrived. It goes on only then.
func (d *donor) acknowledge(desc []byte) error {
	le := binary.LittleEndian
	reply := le.AppendUint32(nil, 0) // no error
	reply = append(reply, engineInnoDB)
	reply = le.AppendUint32(reply, uint32(len(d.locator)))
	reply = append(reply, d.locator...)
	reply = le.AppendUint32(reply, uint32(len(desc)))
	at := len(reply)
	reply = append(reply, desc...)
	binary.BigEndian.PutUint16(reply[at+stateFlags:], stateAcknowledged)
	if err := d.ack.send(comAck, reply...); err != nil {
		return err
	}
	if code, _, err := d.ack.receive(); err != nil {
		return err
	} else if code != resComplete {
		return unexpected(code)
	}
	return nil
}

// leave ends the donor's sessions in order. The copy is whole by then: a failure changes nothing.
func (d *donor) leave() {
	for _, l := range []*link{d.data, d.ack} {
		if l.send(comExit) == nil {
			_, _, _ = l.receive()
		}
	}
}

func unexpected(code byte) error { return fmt.Errorf("the server sent an unexpected answer %#x", code) }

// printable makes a message of what the donor says.
func printable(b []byte) string {
	return strings.TrimSpace(strings.ToValidUTF8(strings.Trim(string(b), "\x00"), "?"))
}
