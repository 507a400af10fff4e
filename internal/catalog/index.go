package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	pb "tidemark/proto/archive"
	"tidemark/storage"
)

// IndexEvery is how many segment numbers an index object covers.
const IndexEvery = 1000

// PutIndex stores the manifests from first to last together. It is derived: losing it costs only
// requests, and it is written again whenever it is missing.
func (c *Catalog) PutIndex(ctx context.Context, timeline uint32, first, last uint64) error {
	list := new(pb.Index)
	for s, err := range c.Segments(ctx, timeline, first) {
		if err != nil {
			return err
		}
		if s.First > last {
			break
		}
		m := segmentToWire(s)
		if s.Manifest != (Digest{}) {
			m.ManifestSha256 = hex.EncodeToString(s.Manifest[:])
		}
		list.Segments = append(list.Segments, m)
	}
	packed, err := proto.Marshal(list)
	if err != nil {
		return err
	}
	data, err := encode(&pb.Index{FormatVersion: FormatVersion, Packed: packed})
	if err != nil {
		return err
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	defer enc.Close()
	return c.store.Put(ctx, c.key(indexKey(timeline, first, last)), enc.EncodeAll(data, nil), false)
}

// Indexed returns the last segment number of a timeline that an index object covers, or would have if it
// had not expired: a multiple of IndexEvery, or 0.
func (c *Catalog) Indexed(ctx context.Context, timeline uint32) (uint64, error) {
	e, err := c.Expiry(ctx)
	if err != nil {
		return 0, err
	}
	indexed := e.Log(timeline).Through / IndexEvery * IndexEvery
	prefix := c.key(indexPrefix(timeline))
	for o, err := range c.store.List(ctx, prefix, "") {
		if err != nil {
			return 0, fmt.Errorf("list index objects: %w", err)
		}
		if _, last, ok := parseRange(strings.TrimPrefix(o.Key, prefix), ".json.zst"); ok && last%IndexEvery == 0 {
			indexed = max(indexed, last)
		}
	}
	return indexed, nil
}

func (c *Catalog) index(ctx context.Context, key string) (*pb.Index, error) {
	data, err := storage.ReadAll(ctx, c.store, key, maxObject)
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	if data, err = dec.DecodeAll(data, nil); err != nil {
		return nil, err
	}
	idx := new(pb.Index)
	if err := decode(data, idx); err != nil || len(idx.Packed) == 0 {
		return idx, err
	}
	list := new(pb.Index)
	return list, proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(idx.Packed, list)
}

// drain reads r to its end and returns the SHA-256 of what it held.
func drain(r io.Reader) (Digest, error) {
	h := sha256.New()
	_, err := io.Copy(h, r)
	return Digest(h.Sum(nil)), err
}
