package binlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// ErrChecksum: an event's bytes do not match its CRC-32.
var ErrChecksum = errors.New("event checksum is wrong")

// DefaultBuffer is the memory a Scanner uses: events up to this size come whole.
const DefaultBuffer = 1 << 20

// Scanner reads a sequence of events from a stream, checks the checksum of each, counts offsets and
// finds transactions. It allocates nothing per event, and an event larger than its buffer comes as
// fragments. It is the one reader of binlog bytes: of the primary's stream, of the spool, and of
// segments.
type Scanner struct {
	r     io.Reader
	buf   []byte
	at    int // first unread byte
	end   int // after the last read byte
	ev    Event
	fde   *FormatDescription
	track tracker

	file   string
	offset uint64 // of the next event in the source file
	head   uint64 // bytes of our own head still to come
	read   uint64 // bytes consumed, head included

	lost   bool  // offset is not known: the next log_pos tells
	expect Point // where it probably is

	left int    // bytes of the current event not yet handed on
	crc  uint32 // of the current large event so far
	tail []byte // its checksum, as it arrives
	err  error
}

// NewScanner reads events that follow each other without a magic, as a primary sends them. Offsets
// are right once an artificial ROTATE has named the file.
func NewScanner(r io.Reader, buffer int) *Scanner {
	return &Scanner{r: r, buf: make([]byte, max(buffer, 1<<16)), tail: make([]byte, 0, ChecksumSize)}
}

// NewFileScanner reads a binlog file or a segment. head is the length of what stands before the
// source's own bytes (4 for a source's file: the magic) and start is where those begin in the source.
func NewFileScanner(r io.Reader, buffer int, head uint64, start Point) (*Scanner, error) {
	s := NewScanner(r, buffer)
	s.file, s.offset, s.head = start.File, start.Offset, head
	for s.end-s.at < len(Magic) {
		if err := s.fill(); err != nil {
			return nil, fmt.Errorf("read magic: %w", noEOF(err))
		}
	}
	if string(s.buf[s.at:s.at+len(Magic)]) != Magic {
		return nil, errors.New("not a binlog file: the magic is missing")
	}
	s.at += len(Magic)
	s.read = uint64(len(Magic))
	if s.head < s.read {
		return nil, fmt.Errorf("head of %d bytes is shorter than the magic", head)
	}
	s.head -= s.read
	return s, nil
}

// Format returns the last format description read, or nil.
func (s *Scanner) Format() *FormatDescription { return s.fde }

// Point returns where in the source the next event begins.
func (s *Scanner) Point() Point { return Point{s.file, s.offset} }

// Seek says where in the source the next event begins, after a ROTATE of ours or by a GTID.
func (s *Scanner) Seek(p Point) { s.file, s.offset = p.File, p.Offset }

// Lose says that the offset in the source is not known, as after a request by GTID: it is taken from
// the events up to the first transaction. They have 32 bits: where they agree with expect, that is it.
func (s *Scanner) Lose(expect Point) { s.lost, s.expect = true, expect }

// Consumed returns the bytes handed on so far, magic and head included.
func (s *Scanner) Consumed() uint64 { return s.read }

// Body returns what lies between header and checksum of the event in hand; of a large event, only
// as much as its first fragment holds, and nil with the others.
func (s *Scanner) Body(ev *Event) []byte {
	if !ev.First {
		return nil
	}
	return body(ev.Data, ev.Size, s.fde == nil || s.fde.Checksum)
}

// Next returns the next event or fragment. io.EOF means that the stream ended between two events;
// io.ErrUnexpectedEOF, inside one. After an error the Scanner is of no more use.
func (s *Scanner) Next() (*Event, error) {
	if s.err != nil {
		return nil, s.err
	}
	var err error
	if s.left > 0 {
		err = s.nextFragment()
	} else {
		err = s.nextEvent()
	}
	if err != nil {
		s.err = err
		return nil, err
	}
	return &s.ev, nil
}

func (s *Scanner) nextEvent() error {
	for s.end-s.at < HeaderSize {
		if err := s.fill(); err != nil {
			if err == io.EOF && s.end > s.at {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	h, err := ParseHeader(s.buf[s.at:s.end])
	if err != nil {
		s.ev = Event{Offset: s.offset}
		return s.damage(err)
	}
	// A whole event if the buffer can hold it, else a first fragment that fills the buffer.
	want := min(int(h.Size), len(s.buf))
	for s.end-s.at < want {
		if err := s.fill(); err != nil {
			return noEOF(err)
		}
	}
	data := s.buf[s.at : s.at+want]
	s.ev = Event{Header: h, Data: data, File: s.file, Offset: s.offset, First: true, Last: want == int(h.Size)}
	s.left = int(h.Size) - want
	if err := s.check(data); err != nil {
		return err
	}
	if err := s.place(&s.ev); err != nil {
		return err
	}
	s.advance(want)
	return nil
}

func (s *Scanner) nextFragment() error {
	for s.end == s.at {
		if err := s.fill(); err != nil {
			return noEOF(err)
		}
	}
	n := min(s.left, s.end-s.at)
	s.ev.Data = s.buf[s.at : s.at+n]
	s.ev.First, s.ev.Begin = false, false
	s.left -= n
	s.ev.Last = s.left == 0
	if s.fde != nil && s.fde.Checksum {
		s.crcFragment(s.ev.Data)
		if s.ev.Last && binary.LittleEndian.Uint32(s.tail) != s.crc {
			return s.damage(ErrChecksum)
		}
	}
	s.advance(n)
	return nil
}

func (s *Scanner) advance(n int) {
	s.at += n
	s.read += uint64(n)
	s.ev.More = s.left == 0 && s.more()
}

// more reports whether the next event is in memory and one of the source's own. Behind one that is
// made up for the connection nothing may come for hours, so it does not count.
func (s *Scanner) more() bool {
	next := s.buf[s.at:s.end]
	if len(next) < HeaderSize || len(next) < int(binary.LittleEndian.Uint32(next[9:])) {
		return false
	}
	switch Type(next[4]) {
	case TypeHeartbeat, TypeHeartbeatV2:
		return false
	case TypeFormatDescription, TypeStartEncryption: // without log_pos it is sent again
		return binary.LittleEndian.Uint32(next[13:]) != 0
	}
	return next[17]&FlagArtificial == 0
}

// check verifies a whole event's checksum, or begins that of a large one. A format description
// says how all that follows is to be checked.
func (s *Scanner) check(data []byte) error {
	if s.ev.Type == TypeFormatDescription {
		if !s.ev.Last {
			return s.damage(errors.New("format description event is larger than the buffer"))
		}
		fde, err := ParseFormatDescription(data)
		if err != nil {
			return s.damage(err)
		}
		s.fde = fde
		return nil
	}
	if s.fde == nil {
		// Only an artificial ROTATE comes before the first format description.
		if s.ev.Type != TypeRotate || !s.ev.Artificial() {
			return s.damage(fmt.Errorf("event of type %d before the format description", s.ev.Type))
		}
		return nil
	}
	if !s.fde.Checksum {
		return nil
	}
	if s.ev.Size < HeaderSize+ChecksumSize {
		return s.damage(fmt.Errorf("event of type %d of %d bytes has no room for a checksum", s.ev.Type, s.ev.Size))
	}
	if !s.ev.Last {
		s.crc, s.tail = 0, s.tail[:0]
		s.crcFragment(data)
		return nil
	}
	if !checksumOK(data) {
		return s.damage(ErrChecksum)
	}
	return nil
}

// crcFragment adds a fragment to the checksum of a large event; s.left bytes come after it.
func (s *Scanner) crcFragment(data []byte) {
	n := len(data)
	if s.left < ChecksumSize {
		n = max(0, len(data)-(ChecksumSize-s.left))
	}
	s.crc = crc32.Update(s.crc, crc32.IEEETable, data[:n])
	s.tail = append(s.tail, data[n:]...)
}

// place counts the event into the source's offsets and checks what the source says about them.
func (s *Scanner) place(ev *Event) error {
	b := body(ev.Data, ev.Size, s.fde == nil || s.fde.Checksum)
	if s.head > 0 {
		ev.Head = true
		if uint64(ev.Size) > s.head {
			return s.damage(fmt.Errorf("event of %d bytes crosses the end of the segment's head", ev.Size))
		}
		s.head -= uint64(ev.Size)
		return nil
	}
	if err := s.track.observe(ev, b); err != nil {
		return s.damage(err)
	}
	switch {
	case ev.Type == TypeRotate && ev.Artificial():
		return s.rotate(ev, b)
	case ev.Artificial():
		return nil
	case (ev.Type == TypeFormatDescription || ev.Type == TypeStartEncryption) && ev.LogPos == 0:
		// Sent again because the dump began behind it. In its file it says where it ends.
		ev.Head = true
		return nil
	case s.lost && ev.LogPos != 0:
		switch at := ev.LogPos - ev.Size; {
		case s.file == s.expect.File && uint32(s.expect.Offset) == at:
			s.offset = s.expect.Offset
		case uint32(s.offset) != at:
			s.offset = uint64(at)
		}
		ev.Offset = s.offset
		s.lost = !ev.Begin
	}
	s.offset += uint64(ev.Size)
	if ev.LogPos != 0 && uint32(s.offset) != ev.LogPos && !s.lost {
		return s.damage(fmt.Errorf("event says it ends at %d, which is not where it ends (%d)", ev.LogPos, s.offset))
	}
	return nil
}

// rotate follows an artificial ROTATE. Before the first format description it may or may not carry
// a checksum, which shows only in the name: binlog names are printable.
func (s *Scanner) rotate(ev *Event, b []byte) error {
	if s.fde == nil {
		b = ev.Data[HeaderSize:]
		if n := len(b) - ChecksumSize; n > 8 && binary.LittleEndian.Uint32(b[n:]) == crc32.ChecksumIEEE(ev.Data[:len(ev.Data)-ChecksumSize]) {
			b = b[:n]
		}
	}
	p, err := ParseRotate(b)
	if err != nil {
		return s.damage(err)
	}
	s.file, s.offset = p.File, p.Offset
	s.track.open = false
	return nil
}

// fill reads more bytes, moving what is unread to the front when the buffer is at its end.
func (s *Scanner) fill() error {
	if s.at == s.end {
		s.at, s.end = 0, 0
	} else if s.end == len(s.buf) {
		s.end = copy(s.buf, s.buf[s.at:s.end])
		s.at = 0
	}
	n, err := s.r.Read(s.buf[s.end:])
	s.end += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

func (s *Scanner) damage(err error) error {
	where := fmt.Sprintf("byte %d", s.read)
	if s.file != "" {
		where = Point{s.file, s.ev.Offset}.String()
	}
	return fmt.Errorf("damaged event at %s: %w", where, err)
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
