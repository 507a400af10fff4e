package archiver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/durable"
	"tidemark/internal/durable/durabletest"
	"tidemark/internal/gtid"
	"tidemark/internal/seal"
)

// session is a script of what a daemon does: it archives through two connections, the first of which breaks,
// closes, takes a base backup, opens again and archives the rest. Spool and archive are in /tidemark.
type session struct {
	b    *bench
	p    *primary
	rng  *rand.Rand
	said *claims
}

// claims is what processes have reported before they died.
type claims struct {
	acked, spooled, archived binlog.Point
	base                     bool // the base backup exists
}

// sessionOn begins a session of a primary, whatever an earlier one left of spool and archive.
func sessionOn(t testing.TB, spool, archive durable.FS, p *primary, ack Ack, keep int64, rng *rand.Rand, said *claims) *session {
	t.Helper()
	b := benchOn(t, spool, "/tidemark")
	b.archiveOn(archive)
	b.options.MaxSize, b.options.MaxAge, b.options.HeadAge = 8000, 5*time.Millisecond, 3*time.Millisecond
	b.options.Ack, b.options.Keep = ack, keep
	own := &primary{names: p.names, logs: p.logs, waits: ack != AckNone, pause: time.Millisecond}
	return &session{b: b, p: own, rng: rng, said: said}
}

// run returns when the process has died, or all is done.
func (s *session) run() error {
	for _, limit := range []int{20_000 + s.rng.IntN(20_000), 0} {
		if err := s.archive(limit); err != nil {
			return err
		}
		if err := s.backup(); err != nil {
			return err
		}
	}
	return nil
}

// archive opens the archiver, feeds it and closes it; with a limit the connection breaks after so many
// bytes, and is made once more.
func (s *session) archive(limit int) error {
	a, err := s.b.open()
	if err != nil {
		return err
	}
	r := run(a)
	defer s.note(a)
	err = feed(a, s.p, 4000, limit)
	if err == nil || errors.Is(err, errEnd) {
		err = feed(a, s.p, 1<<20, limit*2)
	}
	if limit > 0 { // give it time to upload, or not
		time.Sleep(time.Duration(s.rng.IntN(10)) * time.Millisecond)
	}
	if !errors.Is(err, errEnd) {
		r.kill()
		return err
	}
	if err := r.stop(); err != nil {
		r.kill()
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if m, ok := s.b.options.FS.(*durabletest.Mortal); ok {
		m.WhenDead(cancel)
	}
	return a.Close(ctx)
}

// note takes down what the archiver has reported. It has ended.
func (s *session) note(a *Archiver) {
	further := func(p *binlog.Point, q binlog.Point) {
		if s.p.order(*p, q) < 0 {
			*p = q
		}
	}
	stats := a.Stats()
	further(&s.said.spooled, stats.Spooled.Point)
	further(&s.said.archived, stats.Archived.Point)
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	for _, p := range s.p.acked {
		further(&s.said.acked, p)
	}
}

const baseID = "20261121T030000Z-0001"

// backup puts a base backup of two parts, unless there is one.
func (s *session) backup() error {
	ctx := context.Background()
	c, err := catalog.Open(ctx, s.b.store, "shop", "test")
	if err != nil {
		return err
	}
	last, err := c.Last(ctx, 1)
	if err != nil {
		return err
	}
	if there, err := c.Bases(ctx); err != nil || len(there) > 0 {
		s.said.base = s.said.base || len(there) > 0
		return err
	}
	now := time.Now()
	b := &catalog.Base{ID: baseID, ClusterUUID: c.Cluster.UUID, Timeline: 1, Flavor: gtid.MariaDB, Engine: "mbstream", ServerVersion: "10.11.19-MariaDB",
		Source: last.Source.EndPoint(), Segment: last.Last, PositionMin: catalog.Position{GTID: last.After.GTID}, PositionMax: catalog.Position{GTID: last.After.GTID},
		Consistent: now, Started: now, Finished: now}
	sealer, err := seal.New(seal.Options{})
	if err != nil {
		return err
	}
	if err := c.BeginBase(ctx, b); err != nil {
		return err
	}
	for n := range uint32(2) {
		plain := bytes.Repeat([]byte{'a' + byte(n)}, 3000)
		key := catalog.PartKey(b.ID, n+1, b.Engine) + sealer.Suffix()
		res, err := sealer.Seal(ctx, bytes.NewReader(plain), func(ctx context.Context, r io.Reader) error { return c.Upload(ctx, key, r) })
		if err != nil {
			return err
		}
		b.Parts = append(b.Parts, catalog.Part{Number: n + 1, PlainBytes: res.PlainBytes, PlainSHA256: sha256.Sum256(plain), Stored: catalog.StoredAs(key, sealer, res)})
		b.PlainBytes += res.PlainBytes
	}
	if err := c.PutBase(ctx, b); err != nil {
		return err
	}
	s.said.base = true
	return c.EndBase(ctx, b.ID)
}
