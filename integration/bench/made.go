package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/binlog/binlogtest"
	"tidemark/internal/catalog"
	"tidemark/internal/gtid"
	"tidemark/internal/seal"
	"tidemark/storage/file"
)

// made is an archive of very many small segments, made up without a server and without syncing anything.
type made struct {
	dir    string
	cat    *catalog.Catalog
	sealer *seal.Sealer
	state  *gtid.State
	chain  catalog.Digest
	last   *catalog.Segment
	now    time.Time
	index  bool // index objects are written as an archiver writes them
}

// perFile is how many segments, of a transaction each, come from one binlog file.
const perFile = 1000

// makeArchive makes an archive with n segments, a base backup in the first one, and a head.
func makeArchive(dir string, n int, index bool) error {
	ctx := context.Background()
	store, err := file.Open(dir)
	if err != nil {
		return err
	}
	m := &made{dir: filepath.Join(dir, "shop"), state: gtid.NewState(nil), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), index: index}
	if m.cat, err = catalog.Create(ctx, store, "shop", "bench", gtid.MariaDB, m.now); err != nil {
		return err
	}
	if m.sealer, err = seal.New(seal.Options{SkipPlainHash: true}); err != nil {
		return err
	}
	t, err := m.cat.Timeline(ctx, 1)
	if err != nil {
		return err
	}
	m.chain = t.Seed
	if err := os.MkdirAll(filepath.Join(m.dir, "log", "00000001"), 0o700); err != nil {
		return err
	}
	for from := 1; from <= n; from += perFile {
		if err := m.file(from, min(perFile, n-from+1)); err != nil {
			return err
		}
		if from == 1 {
			if err := m.base(ctx); err != nil {
				return err
			}
		}
	}
	return m.cat.PutHead(ctx, &catalog.Head{Timeline: 1, Segment: m.last.Last, Chain: m.chain, Position: m.last.After, CoveredUntil: m.now, Written: m.now})
}

// file adds the segments of one binlog file.
func (m *made) file(from, n int) error {
	name := fmt.Sprintf("binlog.%06d", from/perFile+1)
	l := binlogtest.New(7, binlogtest.Options{Time: uint32(m.now.Unix())})
	l.List(m.state.List()...)
	ends := make([]uint64, n)
	for i := range n {
		l.Time += 5
		l.Rows(binlogtest.G(0, 7, uint64(from+i)), 60)
		ends[i] = l.Size()
	}
	l.Rotate(fmt.Sprintf("binlog.%06d", from/perFile+2))
	ends[n-1] = l.Size()
	format, err := binlog.ParseFormatDescription(l.Bytes()[4 : 4+l.Events[0].Size])
	if err != nil {
		return err
	}
	for i, start := 0, uint64(4); i < n; i++ {
		m.now = m.now.Add(5 * time.Second)
		if err := m.segment(uint64(from+i), format, name, l.Bytes()[start:ends[i]], start); err != nil {
			return err
		}
		start = ends[i]
	}
	if m.index && n == catalog.IndexEvery {
		return m.cat.PutIndex(context.Background(), 1, uint64(from), uint64(from+n-1))
	}
	return nil
}

func (m *made) segment(number uint64, format *binlog.FormatDescription, name string, body []byte, start uint64) error {
	s := &catalog.Segment{ClusterUUID: m.cat.Cluster.UUID, Timeline: 1, First: number, Last: number, Writer: "bench",
		Source: catalog.Source{ServerID: 7, Version: format.ServerVersion, File: name, Start: start, End: start + uint64(len(body)),
			Format: format.Fingerprint(), FileCreated: format.Timestamp},
		ServerIDs: []uint32{7}, Before: catalog.PositionOf(m.state), Transactions: 1, Events: 3, CreatedBy: "bench", Sealed: m.now,
		Commit:    catalog.TimeRange{First: m.now, Last: m.now, Min: m.now, Max: m.now, Precision: time.Second},
		BodyBytes: uint64(len(body)), BodySHA256: sha256.Sum256(body), ChainBefore: m.chain}
	head := format.Head(start, m.state)
	s.HeadBytes = uint64(len(head))
	m.state.Add(binlogtest.G(0, 7, number))
	s.After = catalog.PositionOf(m.state)
	s.Members = []catalog.Member{{Number: number, BodyBytes: s.BodyBytes, BodySHA256: s.BodySHA256, ReceivedFirst: m.now, ReceivedLast: m.now, Live: true}}
	m.chain = catalog.NextDigest(m.chain, s.BodySHA256)
	s.ChainAfter = m.chain
	s.Tail = &catalog.Tail{GTID: fmt.Sprintf("0-7-%d", number), Offset: start, Bytes: s.BodyBytes, SHA256: s.BodySHA256, Before: s.Before}

	key := catalog.SegmentDataKey(1, number, number, "3f1c8a52-6f0e-4f0e-9a51-1f6a0a3b7c11")
	r, err := m.sealer.Seal(context.Background(), bytes.NewReader(append(head, body...)), func(_ context.Context, r io.Reader) error {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(m.dir, key), data, 0o600)
	})
	if err != nil {
		return err
	}
	s.Stored = catalog.StoredAs(key, m.sealer, r)
	data, err := catalog.EncodeSegment(s)
	if err != nil {
		return err
	}
	m.last = s
	return os.WriteFile(filepath.Join(m.dir, catalog.SegmentKey(1, number, number)), data, 0o600)
}

// base puts a base backup, of which only the manifest is looked at, at the end of the first binlog file.
func (m *made) base(ctx context.Context) error {
	key := catalog.PartKey("20260101T000000Z-0000", 1, "mbstream")
	stream := []byte("no stream")
	r, err := m.sealer.Seal(ctx, bytes.NewReader(stream), func(ctx context.Context, r io.Reader) error { return m.cat.Upload(ctx, key, r) })
	if err != nil {
		return err
	}
	return m.cat.PutBase(ctx, &catalog.Base{ClusterUUID: m.cat.Cluster.UUID, ID: "20260101T000000Z-0000", Engine: "mbstream",
		ServerVersion: m.last.Source.Version, Flavor: gtid.MariaDB, ServerID: 7, Timeline: 1, PositionMin: m.last.After, PositionMax: m.last.After,
		Source: m.last.Source.EndPoint(), Segment: m.last.Last, PlainBytes: int64(len(stream)), Started: m.now, Finished: m.now, Consistent: m.now,
		Parts: []catalog.Part{{Number: 1, PlainBytes: int64(len(stream)), PlainSHA256: sha256.Sum256(stream), Stored: catalog.StoredAs(key, m.sealer, r)}}})
}
