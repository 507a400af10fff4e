package restore

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"

	"tidemark/internal/binlog"
)

// MySQL may compress a transaction: its events are in one, the payload. Where it changes rows that are passed over, they are written
// as they were before. The event is in the relay log by then, where it is read from: it may be large.

// followPacked looks at an event or fragment that has been written, and writes anew what is in it.
func (f *feed) followPacked(ctx context.Context, ev *binlog.Event, format *binlog.FormatDescription) error {
	if ev.Type != binlog.TypePayload || len(f.emptied.tables) == 0 || f.holds() {
		return nil
	}
	if ev.First {
		f.packed = f.file.size - int64(len(ev.Data)) - f.file.cut
	}
	if !ev.Last {
		return nil
	}
	if err := f.file.w.Flush(); err != nil {
		return err
	}
	from := f.file.cut + f.packed
	at := func(r io.ReaderAt, from, size int64) *bufio.Reader {
		if format.Checksum {
			size -= binlog.ChecksumSize
		}
		return bufio.NewReader(io.NewSectionReader(r, from, size))
	}
	size := f.file.size - from
	changes, err := f.packedChanges(ev, at(f.file.f, from, size))
	if err != nil || !changes {
		return err
	}
	scratch, err := newRelayFile(f.fsys, f.file.f.Name()+".packed", nil)
	if err != nil {
		return err
	}
	defer scratch.f.Close()
	if _, err := io.Copy(scratch.w, io.NewSectionReader(f.file.f, from, size)); err != nil {
		return err
	}
	if err := errors.Join(scratch.w.Flush(), f.fsys.Remove(scratch.f.Name())); err != nil { // it stays while it is open
		return err
	}
	if err := f.file.backTo(from); err != nil {
		return err
	}
	return f.writeUnpacked(ctx, ev, format, at(scratch.f, 0, size))
}

// packedChanges reports whether a payload changes rows of tables that have lost them.
func (f *feed) packedChanges(ev *binlog.Event, event *bufio.Reader) (found bool, err error) {
	err = eachPacked(ev, event, func(h binlog.Header, r io.Reader) error {
		body, err := io.ReadAll(io.LimitReader(r, 256<<10))
		if err != nil {
			return err
		}
		switch h.Type {
		case binlog.TypeQuery:
			if t, reads := f.emptied.statement(queryWhole(body, 13, false)); reads {
				f.noteRead(ev.GTID.String(), t)
			}
		case typeTableMap:
			_, s, ok := tableOf(body)
			found = found || ok && f.emptied.has(s)
		}
		return nil
	})
	return found, err
}

// writeUnpacked writes the events of a payload.
func (f *feed) writeUnpacked(ctx context.Context, ev *binlog.Event, format *binlog.FormatDescription, event *bufio.Reader) error {
	return eachPacked(ev, event, func(h binlog.Header, r io.Reader) error {
		var head [binlog.HeaderSize]byte
		if h.Type != typeTableMap {
			if format.Checksum {
				h.Size += binlog.ChecksumSize
			}
			h.Put(head[:])
			return f.writeLarge(ctx, h.Type, io.MultiReader(bytes.NewReader(head[:]), r), format)
		}
		h.Put(head[:])
		data, err := io.ReadAll(io.LimitReader(io.MultiReader(bytes.NewReader(head[:]), r), binlog.DefaultBuffer))
		if err != nil {
			return err
		}
		data = append(data, make([]byte, checksumSize(format))...)
		binary.LittleEndian.PutUint32(data[9:], uint32(len(data)))
		named := &binlog.Event{Header: h, Data: data, First: true, Last: uint32(len(data)) == h.Size+uint32(checksumSize(format)), GTID: ev.GTID}
		if named, err = f.passOverRows(named, data[binlog.HeaderSize:], format); err != nil {
			return err
		}
		event := named.Data[:len(named.Data)-checksumSize(format)]
		return f.writeLarge(ctx, h.Type, bytes.NewReader(event), format)
	})
}

// writeLarge writes an event that lacks its checksum.
func (f *feed) writeLarge(ctx context.Context, typ binlog.Type, r io.Reader, format *binlog.FormatDescription) error {
	chunk := make([]byte, 256<<10)
	sum := uint32(0)
	write := func(b []byte) error {
		return f.write(ctx, &binlog.Event{Header: binlog.Header{Type: typ}, Data: b}, format)
	}
	for {
		n, err := io.ReadFull(r, chunk)
		sum = crc32.Update(sum, crc32.IEEETable, chunk[:n])
		if werr := write(chunk[:n]); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if !format.Checksum {
		return nil
	}
	return write(binary.LittleEndian.AppendUint32(nil, sum))
}

func checksumSize(format *binlog.FormatDescription) int {
	if format.Checksum {
		return binlog.ChecksumSize
	}
	return 0
}

// eachPacked calls do with each event of a payload: its header, and what follows that.
func eachPacked(ev *binlog.Event, event *bufio.Reader, do func(binlog.Header, io.Reader) error) error {
	fail := func(err error) error {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read the compressed transaction %s: %w", ev.GTID, err)
	}
	compression, err := payloadFields(event)
	if err != nil {
		return fail(err)
	}
	if compression != payloadZstd {
		return fail(fmt.Errorf("compression %d is not known", compression))
	}
	plain, err := zstd.NewReader(event, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		return fail(err)
	}
	defer plain.Close()
	for {
		var head [binlog.HeaderSize]byte
		if _, err := io.ReadFull(plain, head[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fail(err)
		}
		h, err := binlog.ParseHeader(head[:])
		if err != nil {
			return fail(err)
		}
		rest := &io.LimitedReader{R: plain, N: int64(h.Size) - binlog.HeaderSize}
		if err := do(h, rest); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, rest); err != nil {
			return fail(err)
		}
		if rest.N > 0 {
			return fail(io.ErrUnexpectedEOF)
		}
	}
}

// payloadFields reads what stands in a payload event before what is compressed, and returns how that is.
func payloadFields(event *bufio.Reader) (compression byte, err error) {
	if _, err := event.Discard(binlog.HeaderSize); err != nil {
		return 0, err
	}
	compression = 0xff
	for {
		typ, err := event.ReadByte()
		if err != nil || typ == payloadEnd {
			return compression, err
		}
		n, err := event.ReadByte()
		if err != nil {
			return 0, err
		}
		value := make([]byte, n)
		if _, err := io.ReadFull(event, value); err != nil {
			return 0, err
		}
		if typ == payloadCompression && n == 1 {
			compression = value[0]
		}
	}
}
