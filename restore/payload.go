package restore

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/klauspost/compress/zstd"

	"tidemark/internal/binlog"
)

// Fields before what is compressed: each a type, a length and a value, none longer than 9 bytes.
const (
	payloadEnd         = 0
	payloadCompression = 2
	payloadZstd        = 0
)

// unpack calls f with the type and body of the events in the beginning of a payload, which holds those of a
// transaction of MySQL's, compressed, as long as f wants
// more. What cannot be read is left out: it is for people to look at.
func unpack(body []byte, f func(binlog.Type, []byte) (more bool)) {
	compression := byte(0xff)
	for len(body) >= 1 && body[0] != payloadEnd {
		if len(body) < 2 || len(body) < 2+int(body[1]) {
			return
		}
		if body[0] == payloadCompression && body[1] == 1 {
			compression = body[2]
		}
		body = body[2+int(body[1]):]
	}
	if len(body) == 0 || compression != payloadZstd {
		return
	}
	dec, err := zstd.NewReader(bytes.NewReader(body[1:]), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(32<<20))
	if err != nil {
		return
	}
	defer dec.Close()
	for {
		var head [binlog.HeaderSize]byte
		if _, err := io.ReadFull(dec, head[:]); err != nil {
			return
		}
		size := int64(binary.LittleEndian.Uint32(head[9:])) - binlog.HeaderSize
		if size < 0 {
			return
		}
		event := make([]byte, min(size, keep))
		if _, err := io.ReadFull(dec, event); err != nil || !f(binlog.Type(head[4]), event) {
			return
		}
		if _, err := io.CopyN(io.Discard, dec, size-int64(len(event))); err != nil {
			return
		}
	}
}
