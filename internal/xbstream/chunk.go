package xbstream

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/maphash"
	"path"
	"strings"
)

const (
	magic       = "XBSTCK01"
	fixedSize   = len(magic) + 1 + 1 + 4
	payloadSize = 8 + 8 + 4
	sparseSize  = 4 + payloadSize
	entrySize   = 4 + 4
	maxPath     = 511     // what the tools themselves take
	maxPayload  = 1 << 30 // they write some 10 MiB at most; more is damage
	maxEntries  = 1 << 17 // of a sparse chunk, which is made of a buffer of 10 MiB of pages

	flagIgnorable = 0x01
	flagRewrite   = 0x02
)

// expect collects n bytes in head for next.
func (i *Inspector) expect(n int, next func() error) error {
	i.head, i.need, i.next = i.head[:0], n, next
	return nil
}

// begin waits for a chunk.
func (i *Inspector) begin() error {
	i.start, i.path = i.bytes, ""
	return i.expect(fixedSize, i.fixed)
}

func (i *Inspector) damage(format string, args ...any) error {
	return &Error{File: i.path, Offset: i.start, Reason: fmt.Sprintf(format, args...), dialect: i.dialect}
}

func (i *Inspector) fixed() error {
	if string(i.head[:len(magic)]) != magic {
		return i.damage("no chunk begins there")
	}
	i.flags, i.typ = i.head[len(magic)], i.head[len(magic)+1]
	return i.name(i.head[fixedSize-4:], i.named)
}

// name collects a path of the length that b gives.
func (i *Inspector) name(b []byte, next func() error) error {
	n := binary.LittleEndian.Uint32(b)
	if n == 0 || n > maxPath {
		return i.damage("a path of %d bytes", n)
	}
	return i.expect(int(n), next)
}

// named goes on when the chunk's path is known.
func (i *Inspector) named() error {
	i.path = string(i.head)
	if !local(i.path) {
		return i.damage("the path leads out of the backup")
	}
	switch mariadb := i.dialect == Mbstream; {
	case i.typ == 'P':
		return i.expect(payloadSize, i.payloadHead)
	case i.typ == 'E':
		return i.end()
	case i.typ == 'S' && mariadb:
		return i.expect(8, i.seek)
	case i.typ == 'S':
		return i.expect(sparseSize, i.sparseHead)
	case i.typ == 'R' && mariadb:
		return i.expect(4, func() error { return i.name(i.head, i.rename) })
	case i.typ == 'D' && mariadb:
		return i.remove()
	case i.flags&flagIgnorable == 0:
		return i.damage("the chunk has the unknown type %q", i.typ)
	}
	return i.expect(payloadSize, i.payloadHead)
}

func local(name string) bool {
	return !path.IsAbs(name) && !strings.Contains(name, "\x00") && path.Clean(name) != "." && !strings.HasPrefix(path.Clean(name)+"/", "../")
}

// payloadHead goes on when length, offset and checksum of a payload are known.
func (i *Inspector) payloadHead() error {
	length, offset, err := i.lengths(i.head)
	if err != nil || i.typ != 'P' {
		return i.pay(length, err)
	}
	i.runs = append(i.runs[:0], run{bytes: length})
	return i.pay(length, i.extend(offset, length))
}

// lengths reads what comes before each payload.
func (i *Inspector) lengths(b []byte) (length, offset uint64, err error) {
	length, offset = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	i.crc, i.want = 0, binary.LittleEndian.Uint32(b[16:])
	if length > maxPayload {
		err = i.damage("a payload of %d bytes", length)
	}
	return length, offset, err
}

// extend makes the chunk's file longer, if that is what it should be.
func (i *Inspector) extend(offset, by uint64) error {
	at, err := i.reach()
	if err != nil {
		return err
	}
	if offset != at {
		return i.damage("its bytes from %d on follow where those from %d on are due", offset, at)
	}
	i.open[i.path] = at + by
	if i.capture[i.path] && at+by > MaxCapture {
		return i.damage("it is larger than %d bytes", MaxCapture)
	}
	i.at = at + i.runs[0].skip
	return nil
}

// pay waits for a payload.
func (i *Inspector) pay(length uint64, err error) error {
	if err != nil {
		return err
	}
	if i.left = length; length == 0 {
		return i.paid()
	}
	return nil
}

// reach returns the offset at which the chunk's file goes on, and opens it if this is its first chunk.
func (i *Inspector) reach() (uint64, error) {
	if at, ok := i.open[i.path]; ok {
		return at, nil
	}
	id := i.id(i.path)
	again := i.flags&flagRewrite != 0 && i.dialect == Mbstream
	if _, ended := i.ended[id]; ended && !again {
		return 0, i.damage("it comes again after its end")
	}
	i.again[i.path] = again
	delete(i.ended, id)
	delete(i.kept, i.path)
	delete(i.heads, i.path)
	i.open[i.path] = 0
	return 0, nil
}

func (i *Inspector) payload(p []byte) error {
	i.crc = crc32.Update(i.crc, crc32.IEEETable, p)
	if i.typ == 'P' && i.capture[i.path] {
		i.kept[i.path] = append(i.kept[i.path], p...)
	}
	if i.Content != nil && i.typ == 'P' {
		i.Content(i.path, p, i.open[i.path]-i.left)
	}
	if i.Head != nil && i.typ == 'P' {
		if n := i.Head(i.path) - len(i.heads[i.path]); n > 0 {
			i.heads[i.path] = append(i.heads[i.path], p[:min(n, len(p))]...)
		}
	}
	if i.sink != nil && (i.typ == 'P' || i.typ == 'S') {
		if err := i.spread(p); err != nil {
			return err
		}
	}
	if i.left -= uint64(len(p)); i.left > 0 {
		return nil
	}
	return i.paid()
}

// paid ends a payload.
func (i *Inspector) paid() error {
	if i.crc != i.want {
		return i.damage("its bytes do not match their checksum")
	}
	return i.begin()
}

func (i *Inspector) end() error {
	if _, err := i.reach(); err != nil { // an empty file has no other chunk
		return err
	}
	if i.sink != nil {
		if err := i.sink.end(i.path, i.open[i.path]); err != nil {
			return err
		}
	}
	i.ended[i.id(i.path)] = i.again[i.path]
	delete(i.open, i.path)
	delete(i.again, i.path)
	if i.capture[i.path] && i.kept[i.path] == nil {
		i.kept[i.path] = []byte{}
	}
	delete(i.missing, i.path)
	return i.begin()
}

// seek leaves out bytes that are zero. The files that are kept are not sparse.
func (i *Inspector) seek() error {
	if _, err := i.reach(); err != nil {
		return err
	}
	if i.capture[i.path] {
		return i.damage("it has holes")
	}
	to := binary.LittleEndian.Uint64(i.head)
	if at := i.open[i.path]; to < at {
		return i.damage("it goes on at %d, before %d", to, at)
	}
	i.open[i.path] = to
	return i.begin()
}

func (i *Inspector) rename() error {
	to := string(i.head)
	if !local(to) {
		return i.damage("its new path leads out of the backup")
	}
	for _, name := range []string{i.path, to} {
		if _, open := i.open[name]; open {
			return i.damage("it is renamed to %q before the end of %q", to, name)
		}
	}
	if again, ok := i.ended[i.id(i.path)]; ok {
		i.ended[i.id(to)] = again
		delete(i.missing, to)
	}
	if head, ok := i.heads[i.path]; ok {
		i.heads[to] = head
	}
	return i.forget()
}

func (i *Inspector) remove() error {
	if _, open := i.open[i.path]; open {
		return i.damage("it is removed before its end")
	}
	return i.forget()
}

// forget ends a chunk after which its file is no longer there under its name.
func (i *Inspector) forget() error {
	delete(i.ended, i.id(i.path))
	delete(i.kept, i.path)
	delete(i.heads, i.path)
	if i.Removed != nil {
		for _, name := range i.Removed(i.path) {
			i.missing[name] = true
		}
	}
	return i.begin()
}

// id stands for a path: a million files must not take a gigabyte.
func (i *Inspector) id(name string) uint64 { return maphash.String(i.seed, name) }
