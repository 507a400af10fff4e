package hostiletest

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
)

// MaxPayload is what a packet holds at most. A payload of that size or more goes on in the next packet.
const MaxPayload = 1<<24 - 1

// The first bytes of a packet that is an answer.
const (
	okPacket  = 0x00
	eofPacket = 0xfe
	errPacket = 0xff
)

// Packet is a payload with its header.
func Packet(seq byte, payload []byte) []byte {
	n := len(payload)
	return append([]byte{byte(n), byte(n >> 8), byte(n >> 16), seq}, payload...)
}

// ReadPacket returns the payload of the next packet that the other side sends.
func ReadPacket(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	payload := make([]byte, int(head[0])|int(head[1])<<8|int(head[2])<<16)
	_, err := io.ReadFull(r, payload)
	return payload, err
}

// Packets are the bytes that a server sends.
type Packets struct {
	Seq byte // of the next packet
	buf bytes.Buffer
}

// NewPackets begins with a sequence number.
func NewPackets(seq byte) *Packets { return &Packets{Seq: seq} }

// Bytes is all that was added.
func (p *Packets) Bytes() []byte { return p.buf.Bytes() }

// Raw adds bytes that are no packet, or none that is right.
func (p *Packets) Raw(b ...byte) { p.buf.Write(b) }

// Cut takes the last n bytes away.
func (p *Packets) Cut(n int) { p.buf.Truncate(p.buf.Len() - n) }

// Packet adds one packet.
func (p *Packets) Packet(payload []byte) {
	p.buf.Write(Packet(p.Seq, payload))
	p.Seq++
}

// Event adds an event of a binlog in as many packets as it takes.
func (p *Packets) Event(ev []byte) {
	payload := append([]byte{okPacket}, ev...)
	for {
		n := min(len(payload), MaxPayload)
		p.Packet(payload[:n])
		if payload = payload[n:]; n < MaxPayload {
			return
		}
	}
}

// Err adds an ERR packet. The state is "#HY000" or so; servers leave it out before a client is known.
func (p *Packets) Err(code uint16, state, message string) {
	payload := binary.LittleEndian.AppendUint16([]byte{errPacket}, code)
	p.Packet(append(append(payload, state...), message...))
}

// OK adds the answer to a statement without rows.
func (p *Packets) OK() { p.Packet([]byte{okPacket, 0, 0, 2, 0, 0, 0}) }

// EOF adds the end of columns or rows.
func (p *Packets) EOF() { p.Packet([]byte{eofPacket, 0, 0, 2, 0}) }

// Greeting is the payload that a server sends first. It asks for an authentication plugin.
func Greeting(plugin string) []byte {
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

// Pieces are all of one size.
func Pieces(n int) func() int { return func() int { return n } }

// Send returns a connection that brings data, in pieces of the sizes that piece says, and then is closed by the
// other side.
func Send(data []byte, piece func() int) net.Conn {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		for len(data) > 0 {
			n := min(piece(), len(data))
			if _, err := theirs.Write(data[:n]); err != nil {
				return
			}
			data = data[n:]
		}
	}()
	return ours
}
