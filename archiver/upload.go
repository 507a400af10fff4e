package archiver

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/seal"
)

// sealed is a segment in the spool that is not archived yet.
type sealed struct {
	seg  *catalog.Segment
	path string
	up   *upload // under way

	asked binlog.Point // the last place in it that a commit waits for; no file: none
}

// upload is a segment's data on its way to storage.
type upload struct {
	done   chan struct{}
	err    error
	stored catalog.Stored
	body   catalog.Digest
	tail   catalog.Digest
}

// inFlight is how many segments are compressed and stored at the same time. Their manifests are put
// in order, each after its data.
const inFlight = 2

// uploadLoop archives sealed segments, oldest first, and tries again for as long as storage fails.
func (a *Archiver) uploadLoop(ctx context.Context) error {
	storing, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		a.landUploads()
	}()
	sealers := make(chan *seal.Sealer, inFlight)
	for range inFlight {
		s, err := seal.New(seal.Options{SkipPlainHash: true, Recipients: a.o.Recipients})
		if err != nil {
			return err
		}
		sealers <- s
	}
	wait := time.Duration(0)
	for ctx.Err() == nil {
		s := a.nextUpload(ctx, storing, sealers)
		if s == nil {
			return nil
		}
		select {
		case <-s.up.done:
		case <-ctx.Done():
			return nil
		}
		err := s.up.err
		if err != nil {
			s.up = nil // what was stored of it has no manifest and is swept one day
		} else {
			err = a.commit(ctx, s)
		}
		switch {
		case err == nil:
			wait = 0
			continue
		case ctx.Err() != nil:
			return nil
		case fault.Is(err, fault.Locked), fault.Is(err, fault.Integrity), a.hasFailed():
			return err
		}
		wait = min(max(2*wait, time.Second), 30*time.Second)
		pause := wait/2 + rand.N(wait/2)
		a.o.Log.Warn("upload failed, trying again", zap.String("segment", s.seg.Name()), zap.Duration("in", pause), zap.Error(err))
		a.mu.Lock()
		a.stats.UploadFailures++
		a.stats.UploadError = err
		a.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-a.o.Clock.After(pause):
		}
	}
	return nil
}

// landUploads waits for the uploads in flight, whose context has ended, and forgets them.
func (a *Archiver) landUploads() {
	a.mu.Lock()
	queue := slices.Clone(a.queue)
	a.mu.Unlock()
	for _, s := range queue {
		if s.up != nil {
			<-s.up.done
			s.up = nil
		}
	}
}

// nextUpload starts as many uploads as may be in flight and returns the oldest; nil when ctx ends.
func (a *Archiver) nextUpload(ctx, storing context.Context, sealers chan *seal.Sealer) *sealed {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.queue) == 0 {
		// Whoever ends ctx wakes us; a context derived from it might not have ended by then.
		if ctx.Err() != nil {
			return nil
		}
		a.wake.Wait()
	}
	for _, s := range a.queue[:min(inFlight, len(a.queue))] {
		if s.up == nil {
			s.up = &upload{done: make(chan struct{})}
			go func() {
				sealer := <-sealers
				s.up.err = a.store(storing, s, sealer)
				sealers <- sealer
				close(s.up.done)
			}()
		}
	}
	return a.queue[0]
}

// store seals a segment's file into storage under a key of its own.
func (a *Archiver) store(ctx context.Context, s *sealed, sealer *seal.Sealer) error {
	f, err := a.o.FS.Open(s.path)
	if err != nil {
		return fault.New(fault.Integrity, "read a sealed segment", s.path, err)
	}
	defer f.Close()
	in := newHasher(s.seg)
	key := catalog.SegmentDataKey(a.o.Timeline, s.seg.First, s.seg.Last, uuid.NewString()) + sealer.Suffix()
	res, err := sealer.Seal(ctx, io.TeeReader(f, in), func(ctx context.Context, r io.Reader) error {
		return a.o.Catalog.Upload(ctx, key, r)
	})
	if err != nil {
		return err
	}
	if uint64(res.PlainBytes) != s.seg.HeadBytes+s.seg.BodyBytes {
		return fault.New(fault.Integrity, "read a sealed segment", s.path, errors.New("the file has not the size it was sealed with"))
	}
	s.up.stored = catalog.StoredAs(key, sealer, res)
	s.up.body, s.up.tail = catalog.Digest(in.body.Sum(nil)), catalog.Digest(in.tail.Sum(nil))
	return nil
}

// commit puts the manifest of a stored segment and lets go of it in the spool.
func (a *Archiver) commit(ctx context.Context, s *sealed) error {
	seg := *s.seg
	tail := *seg.Tail // Resume reads that of the segment in the queue
	tail.SHA256 = s.up.tail
	seg.Stored, seg.BodySHA256, seg.Tail = s.up.stored, s.up.body, &tail
	seg.Members = []catalog.Member{seg.Members[0]}
	seg.Members[0].BodySHA256 = s.up.body
	if a.o.Recipients != nil {
		seg.Barriers = nameless(seg.Barriers)
	}
	a.mu.Lock()
	seg.ChainBefore = a.state.Chain
	a.mu.Unlock()
	seg.ChainAfter = catalog.NextDigest(seg.ChainBefore, s.up.body)
	if err := a.sure(ctx); err != nil {
		return err
	}
	if err := a.o.Catalog.Commit(ctx, &seg); err != nil {
		return err
	}
	if err := a.archivedTo(&seg); err != nil {
		return err
	}
	return nil
}

// sure returns when a manifest or a head may be put.
func (a *Archiver) sure(ctx context.Context) error {
	if a.o.Sure == nil {
		return nil
	}
	return a.o.Sure(ctx)
}

// hasFailed reports whether the spool is of no more use.
func (a *Archiver) hasFailed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed != nil
}

// archivedTo records that a segment is archived, then drops it from the queue and the spool.
func (a *Archiver) archivedTo(seg *catalog.Segment) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := *a.state
	next.Archived, next.Chain = seg.Last, seg.ChainAfter
	if n := len(seg.Barriers); n > 0 {
		next.Barrier = &Barrier{Barrier: seg.Barriers[n-1], Timeline: seg.Timeline, Segment: seg.Last}
	}
	if err := next.save(a.o.FS, a.o.Dir); err != nil {
		return a.fail("record progress in", err)
	}
	a.state = &next
	if a.last.Last == seg.Last {
		a.last = seg
	}
	if a.o.Ack == AckArchive {
		a.acknowledge(a.queue[0].asked)
	}
	a.queue = a.queue[1:]
	commit := seg.Commit.Last
	if commit.IsZero() { // no transaction ends in it
		commit = a.stats.Archived.Commit
	}
	a.stats.Archived = Point{Point: seg.Source.EndPoint(), GTID: seg.After.GTID, Commit: commit, At: a.o.Clock.Now()}
	a.stats.ArchivedSegment = seg.Last
	a.stats.ArchivedBytes += uint64(seg.Stored.Size)
	a.stats.UploadError = nil
	a.stats.SpoolSegments = uint64(len(a.queue))
	a.stats.SpoolBytes = a.spoolBytes()
	a.wake.Broadcast()
	if err := a.keep(seg); err != nil {
		return a.fail("remove an archived segment from", err)
	}
	return a.sealForAck()
}

// drain waits until everything sealed is archived, uploading it itself: Run has ended.
func (a *Archiver) drain(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { a.mu.Lock(); a.wake.Broadcast(); a.mu.Unlock() })
	defer stop()
	done := make(chan error, 1)
	ended := false
	go func() {
		done <- a.uploadLoop(ctx)
		a.mu.Lock()
		ended = true
		a.wake.Broadcast()
		a.mu.Unlock()
	}()
	a.mu.Lock()
	for len(a.queue) > 0 && a.failed == nil && ctx.Err() == nil && !ended {
		a.wake.Wait()
	}
	left := len(a.queue)
	a.mu.Unlock()
	expired := ctx.Err()
	cancel()
	if err := <-done; err != nil {
		return err
	}
	if left > 0 && expired != nil {
		return fault.New(fault.Storage, "upload what is left in", a.o.Dir, expired).
			WithHint("It stays in the spool and is uploaded at the next start.")
	}
	return nil
}

// hasher hashes a segment's body and tail as its plain bytes pass.
type hasher struct {
	body, tail hash.Hash
	head       uint64 // bytes to come before the body
	skip       uint64 // bytes to come before the tail
}

func newHasher(s *catalog.Segment) *hasher {
	return &hasher{body: sha256.New(), tail: sha256.New(), head: s.HeadBytes, skip: s.HeadBytes + s.Tail.Offset - s.Source.Start}
}

func (h *hasher) Write(p []byte) (int, error) {
	n := uint64(len(p))
	h.body.Write(p[min(n, h.head):])
	h.tail.Write(p[min(n, h.skip):])
	h.head -= min(n, h.head)
	h.skip -= min(n, h.skip)
	return len(p), nil
}
