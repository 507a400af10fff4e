package clone

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

// The stream is a magic and records: kind, length, payload, CRC. A CRC is over all bytes of the stream
// before it that are not themselves CRCs, so a record that is missing, doubled or in the wrong place
// is as visible as a changed one; and there is an end record, so a stream that is cut off is, too.
// docs/format.md is the specification.
const magic = "TMCLONE\x01" // the last byte is the version

const (
	recBegin = 'B'
	recDesc  = 'D'
	recData  = 'P'
	recEnd   = 'E'

	maxRecord  = 1 << 20 // bytes of payload; more data goes on in the next record
	recHeader  = 5
	beginSize  = 12 // without the locator
	endSize    = 24
	streamRoom = 256 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// writer writes a stream.
type writer struct {
	w     *bufio.Writer
	crc   uint32
	descs uint64
	bytes uint64
}

func newWriter(w io.Writer) *writer { return &writer{w: bufio.NewWriterSize(w, streamRoom)} }

func (w *writer) begin(now time.Time, protocol uint32, locator []byte) error {
	w.crc = crc32.Update(w.crc, castagnoli, []byte(magic))
	if _, err := w.w.WriteString(magic); err != nil {
		return err
	}
	p := binary.LittleEndian.AppendUint64(nil, uint64(now.UnixMicro()))
	p = binary.LittleEndian.AppendUint32(p, protocol)
	return w.record(recBegin, append(p, locator...))
}

func (w *writer) descriptor(b []byte) error {
	w.descs++
	return w.record(recDesc, b)
}

func (w *writer) data(b []byte) error {
	w.bytes += uint64(len(b))
	for len(b) > maxRecord {
		if err := w.record(recData, b[:maxRecord]); err != nil {
			return err
		}
		b = b[maxRecord:]
	}
	return w.record(recData, b)
}

func (w *writer) end(now time.Time) error {
	p := binary.LittleEndian.AppendUint64(nil, w.descs)
	p = binary.LittleEndian.AppendUint64(p, w.bytes)
	p = binary.LittleEndian.AppendUint64(p, uint64(now.UnixMicro()))
	if err := w.record(recEnd, p); err != nil {
		return err
	}
	return w.w.Flush()
}

func (w *writer) record(kind byte, payload []byte) error {
	if len(payload) > maxRecord {
		return fmt.Errorf("a record of %d bytes", len(payload))
	}
	head := binary.LittleEndian.AppendUint32([]byte{kind}, uint32(len(payload)))
	w.crc = crc32.Update(crc32.Update(w.crc, castagnoli, head), castagnoli, payload)
	if _, err := w.w.Write(head); err != nil {
		return err
	}
	if _, err := w.w.Write(payload); err != nil {
		return err
	}
	_, err := w.w.Write(binary.LittleEndian.AppendUint32(nil, w.crc))
	return err
}

// reader reads a stream and checks it.
type reader struct {
	r     io.Reader
	crc   uint32
	at    int64 // bytes read
	buf   []byte
	descs uint64
	bytes uint64

	started, ended time.Time // of the copy; ended is set when the stream is
}

var errTruncated = errors.New("the stream is cut off")

// newReader reads the beginning of a stream.
func newReader(in io.Reader) (*reader, error) {
	r := &reader{r: bufio.NewReaderSize(in, streamRoom)}
	var m [len(magic)]byte
	if err := r.full(m[:]); err != nil {
		return nil, err
	}
	if string(m[:len(m)-1]) != magic[:len(magic)-1] {
		return nil, errors.New("this is not the stream of a clone")
	}
	if m[len(m)-1] != magic[len(magic)-1] {
		return nil, fmt.Errorf("the stream is of version %d, which this program does not know", m[len(m)-1])
	}
	r.crc = crc32.Update(0, castagnoli, m[:])
	kind, p, err := r.record()
	if err != nil {
		return nil, err
	}
	if kind != recBegin || len(p) < beginSize {
		return nil, r.wrong("the stream does not begin with its first record")
	}
	r.started = time.UnixMicro(int64(binary.LittleEndian.Uint64(p)))
	return r, nil
}

// next returns the next descriptor or piece of data, good until the next call, and io.EOF when the
// stream has ended as it should.
func (r *reader) next() (kind byte, payload []byte, err error) {
	if !r.ended.IsZero() {
		return 0, nil, io.EOF
	}
	kind, payload, err = r.record()
	if err != nil {
		return 0, nil, err
	}
	switch kind {
	case recDesc:
		r.descs++
	case recData:
		r.bytes += uint64(len(payload))
	case recEnd:
		return 0, nil, r.finish(payload)
	default:
		return 0, nil, r.wrong("the stream has a record of unknown kind %#x", kind)
	}
	return kind, payload, nil
}

// finish compares what the last record says with what was read, and returns io.EOF.
func (r *reader) finish(p []byte) error {
	if len(p) != endSize {
		return r.wrong("the last record of the stream has %d bytes", len(p))
	}
	le := binary.LittleEndian
	if d, n := le.Uint64(p), le.Uint64(p[8:]); d != r.descs || n != r.bytes {
		return r.wrong("the stream has %d descriptors and %d bytes of data, and should have %d and %d", r.descs, r.bytes, d, n)
	}
	r.ended = time.UnixMicro(int64(le.Uint64(p[16:])))
	var more [1]byte
	switch _, err := io.ReadFull(r.r, more[:]); {
	case err == nil:
		return r.wrong("the stream goes on after its end")
	case err != io.EOF:
		return err
	}
	return io.EOF
}

func (r *reader) record() (byte, []byte, error) {
	var head [recHeader]byte
	if err := r.full(head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.LittleEndian.Uint32(head[1:])
	if n > maxRecord {
		return 0, nil, r.wrong("the stream has a record of %d bytes", n)
	}
	if r.buf == nil {
		r.buf = make([]byte, maxRecord+4)
	}
	p := r.buf[:n+4]
	if err := r.full(p); err != nil {
		return 0, nil, err
	}
	r.crc = crc32.Update(crc32.Update(r.crc, castagnoli, head[:]), castagnoli, p[:n])
	if binary.LittleEndian.Uint32(p[n:]) != r.crc {
		return 0, nil, r.wrong("the stream is damaged: a CRC is wrong")
	}
	return head[0], p[:n], nil
}

// full reads len(p) bytes. An end before that is no good end of a stream.
func (r *reader) full(p []byte) error {
	n, err := io.ReadFull(r.r, p)
	r.at += int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return r.wrong("%w", errTruncated)
	}
	return err
}

func (r *reader) wrong(format string, args ...any) error {
	return fmt.Errorf("%w, at byte %d", fmt.Errorf(format, args...), r.at)
}
