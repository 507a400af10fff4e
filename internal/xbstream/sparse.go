package xbstream

import (
	"encoding/binary"
	"hash/crc32"
)

// run is a part of a chunk: zeroes that are left out, and bytes of its payload behind them.
type run struct{ skip, bytes uint64 }

// sparseHead goes on when the number of entries, length, offset and checksum of a sparse chunk are known.
func (i *Inspector) sparseHead() error {
	entries := binary.LittleEndian.Uint32(i.head)
	if entries == 0 || entries > maxEntries {
		return i.damage("a sparse chunk of %d entries", entries)
	}
	length, offset, err := i.lengths(i.head[4:])
	if err != nil {
		return err
	}
	return i.expect(int(entries)*entrySize, func() error { return i.entries(length, offset) })
}

// entries goes on when the entries of a sparse chunk are there.
func (i *Inspector) entries(length, offset uint64) error {
	i.crc = crc32.Update(0, crc32.IEEETable, i.head)
	i.runs = i.runs[:0]
	var skipped, bytes uint64
	for b := i.head; len(b) > 0; b = b[entrySize:] {
		r := run{uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[4:]))}
		i.runs = append(i.runs, r)
		skipped, bytes = skipped+r.skip, bytes+r.bytes
	}
	if bytes != length {
		return i.damage("its entries are for %d bytes, and it has %d", bytes, length)
	}
	if i.capture[i.path] {
		return i.damage("it has holes")
	}
	return i.pay(length, i.extend(offset, skipped+length))
}

// spread gives the next bytes of a payload to the sink, each run where it belongs.
func (i *Inspector) spread(p []byte) error {
	for len(p) > 0 {
		n := min(i.runs[0].bytes, uint64(len(p)))
		if n > 0 {
			if err := i.sink.write(i.path, p[:n], i.at); err != nil {
				return err
			}
		}
		i.at, p = i.at+n, p[n:]
		if i.runs[0].bytes -= n; i.runs[0].bytes == 0 && len(i.runs) > 1 {
			i.runs = i.runs[1:]
			i.at += i.runs[0].skip
		}
	}
	return nil
}
