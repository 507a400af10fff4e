package clone

import (
	"bytes"
	"context"
	"encoding/binary"
	"path/filepath"
	"testing"
	"time"

	"tidemark/internal/durable"
)

// Descriptors as a donor makes them.

func desc(kind uint32, size int) []byte {
	b := make([]byte, size)
	be := binary.BigEndian
	be.PutUint32(b, descVersion)
	be.PutUint32(b[4:], uint32(size))
	be.PutUint32(b[8:], kind)
	return b
}

func state(n uint32, begins bool) []byte {
	b := desc(descState, stateSize)
	binary.BigEndian.PutUint32(b[12:], n)
	if begins {
		b[stateFlags+1] = stateBegins
	}
	return b
}

func meta(n uint32, index int, name string, size int, flags uint16) []byte {
	b := desc(descFile, fileSize+len(name))
	be := binary.BigEndian
	be.PutUint32(b[12:], n)
	be.PutUint64(b[16:], uint64(size))
	be.PutUint16(b[40:], flags)
	be.PutUint32(b[42:], 100+uint32(index))
	be.PutUint32(b[46:], uint32(index))
	be.PutUint32(b[58:], uint32(len(name)))
	copy(b[fileSize:], name)
	return b
}

func data(n uint32, index, offset, length, size int) []byte {
	b := desc(descData, dataSize)
	be := binary.BigEndian
	be.PutUint32(b[12:], n)
	be.PutUint32(b[28:], uint32(index))
	be.PutUint32(b[32:], uint32(length))
	be.PutUint64(b[36:], uint64(offset))
	be.PutUint64(b[44:], uint64(size))
	return b
}

// item is a descriptor, with the bytes that follow it.
type item struct{ desc, data []byte }

func text(n uint32, index, offset int, s string, size int) item {
	return item{data(n, index, offset, len(s), size), []byte(s)}
}

// whole is a copy in which two tables swap their names, one is dropped and made anew, one appears
// so late that all of it is redo, and one grows.
func whole() []item {
	return []item{
		{desc: desc(descTask, 24)},
		{desc: state(stateInit, false)},
		{desc: state(stateFiles, true)},
		{desc: meta(stateFiles, 0, "ibdata1", 8, 0)},
		{desc: meta(stateFiles, 1, "./d/a.ibd", 6, 0)},
		{desc: meta(stateFiles, 2, "./d/b.ibd", 6, 0)},
		{desc: meta(stateFiles, 3, "./d/c.ibd", 6, 0)},
		text(stateFiles, 0, 0, "system..", 8),
		text(stateFiles, 1, 0, "was a.", 6),
		text(stateFiles, 2, 0, "was b.", 6),
		text(stateFiles, 3, 0, "was c.", 6),
		{desc: meta(stateFiles, 3, "./d/#sql-1.ibd", 6, fileDeleted|8)},
		{desc: state(stateFiles, false)},
		{desc: meta(statePages, 1, "./d/b.ibd", 6, 8)},
		{desc: meta(statePages, 2, "./d/a.ibd", 6, 8)},
		{desc: meta(statePages, 4, "./d/c.ibd", 6, 0)},
		{desc: state(statePages, true)},
		text(statePages, 0, 2, "STEM", 8),
		text(statePages, 1, 6, "grown", 11),
		text(statePages, 4, 0, "new c.", 6),
		text(statePages, 4, 6, "more", 0),
		{desc: state(statePages, false)},
		{desc: meta(stateRedo, 5, "./d/late.ibd", 4*16<<10, 0)},
		{desc: state(stateRedo, true)},
		{desc: meta(stateRedo, 0, "", 4096, 0)},
		text(stateRedo, 0, 512, "log", 1024),
		text(stateRedo, 0, 0, "header", 1024),
		{desc: state(stateRedo, false)},
		{desc: state(stateDone, true)},
	}
}

// stream makes a stream of a copy.
func stream(t *testing.T, items []item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := newWriter(&b)
	err := w.begin(time.UnixMicro(1_000_001), protocolVersion, make([]byte, locatorSize))
	for _, i := range items {
		if err == nil {
			err = w.descriptor(i.desc)
		}
		if err == nil && i.data != nil {
			err = w.data(i.data)
		}
	}
	if err == nil {
		err = w.end(time.UnixMicro(2_000_002))
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// extract extracts into a fresh directory.
func extract(t *testing.T, b []byte) (string, error) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	_, err := Extract(context.Background(), bytes.NewReader(b), dir, durable.OS{})
	return dir, err
}
