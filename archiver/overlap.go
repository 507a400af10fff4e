package archiver

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
)

// overlap compares what a source sends first after a reconnect with the end of what we have: the
// last durable transaction, and what follows it in its segment. It is dropped, not stored twice.
//
// A source that was asked by GTID sends the first events of the file before it jumps to the
// transaction asked for. They are passed over.
type overlap struct {
	r     Resume
	hash  hash.Hash
	bytes uint64
	files bool // the source counts in the same files: bytes can be compared
	begun bool
}

// fed says what becomes of an event that was compared.
type fed int

const (
	dropped fed = iota // it is not stored; the comparison goes on
	equal              // it is not stored; the comparison is over
	fresh              // it is the first that is new
)

func newOverlap(r Resume) *overlap { return &overlap{r: r, hash: sha256.New()} }

// feed takes the next event or fragment.
func (v *overlap) feed(ev *binlog.Event, src Source) (fed, error) {
	if v.r.Next { // that the file comes next is checked as between any two
		v.files = true
		return fresh, nil
	}
	if v.r.Other { // the server was asked whether it has all of ours, and sends what follows
		if ev.Begin {
			return fresh, nil
		}
		return dropped, nil
	}
	if !v.begun {
		format := src.Format()
		sameName := format.ServerID == v.r.ServerID && ev.File == v.r.From.File
		v.files = sameName && format.Fingerprint() == v.r.Format
		switch {
		case sameName && !v.files:
			return dropped, v.diverged(ev, errors.New("the file is another one of the same name"))
		case v.files && !ev.Begin && ev.Offset < v.r.From.Offset, !v.files && !ev.Begin:
			return dropped, nil
		case v.files && ev.Offset != v.r.From.Offset:
			return dropped, v.diverged(ev, fmt.Errorf("it begins at offset %d, not at %d", ev.Offset, v.r.From.Offset))
		case !v.files && v.r.tail.GTID == "" && v.r.ByGTID: // there is no transaction to compare
			return fresh, nil
		case !v.files && format.ServerID == v.r.ServerID && ev.GTID.String() == v.r.tail.GTID && !ev.CommitTime().Equal(v.r.tailTime):
			return dropped, v.diverged(ev, fmt.Errorf("it was committed at %s, and the archived one of that name at %s", ev.CommitTime(), v.r.tailTime))
		case !v.files && ev.GTID.String() != v.r.tail.GTID:
			return dropped, v.diverged(ev, fmt.Errorf("transaction %s comes where %s is expected", ev.GTID, v.r.tail.GTID))
		}
		v.begun = true
	}
	if !v.files { // on another server the same transaction has other offsets and checksums
		if ev.Boundary() && ev.End {
			return equal, nil
		}
		return dropped, nil
	}
	v.hash.Write(ev.Data)
	v.bytes += uint64(len(ev.Data))
	switch {
	case v.bytes < v.r.tail.Bytes:
		return dropped, nil
	case v.bytes > v.r.tail.Bytes:
		return dropped, v.diverged(ev, fmt.Errorf("an event ends %d bytes behind what was archived", v.bytes-v.r.tail.Bytes))
	case catalog.Digest(v.hash.Sum(nil)) != v.r.tail.SHA256:
		return dropped, v.diverged(ev, errors.New("its bytes differ"))
	}
	return equal, nil
}

func (v *overlap) diverged(ev *binlog.Event, err error) error {
	what := "transaction " + v.r.tail.GTID
	if v.r.tail.GTID == "" {
		what = "the end of the log"
	}
	return fault.New(fault.Integrity, "compare "+what+" at", fmt.Sprintf("%s:%d", ev.File, ev.Offset), fmt.Errorf("%w: %w", ErrDiverged, err)).
		WithHint("The primary was reset, restored or rebuilt. If it stays so, its history becomes a timeline of its own (fork_grace).")
}

// hashTail returns the SHA-256 of n bytes of a file of the spool, from an offset on.
func hashTail(ctx context.Context, f durable.File, from, n int64) (catalog.Digest, error) {
	h, r := sha256.New(), io.NewSectionReader(f, from, n)
	const step = 64 << 20
	for left := n; left > 0; left -= step {
		if err := ctx.Err(); err != nil {
			return catalog.Digest{}, err
		}
		if _, err := io.CopyN(h, r, min(step, left)); err != nil {
			return catalog.Digest{}, fmt.Errorf("read the end of %s: %w", f.Name(), noEOF(err))
		}
	}
	return catalog.Digest(h.Sum(nil)), nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
