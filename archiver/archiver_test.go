package archiver

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestArchive: what goes in comes out, whatever the sizes of segments and of what is read at a time.
func TestArchive(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for _, tt := range []struct {
		name        string
		maxSize     int64
		piece       int
		transaction []int
		segments    int // at least
	}{
		{"one segment a file", 1 << 30, 1 << 20, []int{1000, 200_000}, 3},
		{"one segment a transaction", 1, 1 << 20, []int{1000, 200_000}, 3 * 30},
		{"small reads", 5000, 700, []int{1000, 20_000}, 10},
		{"large transactions", 10_000, 1 << 14, []int{700_000, 5 << 20}, 9},
	} {
		p := sample(seed, tt.transaction...)
		b := newBench(t)
		b.options.MaxSize = tt.maxSize
		a := b.mustOpen()
		r := run(a)
		if err := feed(a, p, tt.piece, 0); !errors.Is(err, errEnd) {
			t.Fatalf("%s, seed %d: %v", tt.name, seed, err)
		}
		if err := r.stop(); err != nil {
			t.Fatalf("%s, seed %d: %v", tt.name, seed, err)
		}
		if err := a.Close(context.Background()); err != nil {
			t.Fatalf("%s, seed %d: %v", tt.name, seed, err)
		}
		segments := b.check(p, nil)
		if len(segments) < tt.segments {
			t.Errorf("%s, seed %d: %d segments", tt.name, seed, len(segments))
		}
		s := a.Stats()
		end := segments[len(segments)-1].Source.EndPoint()
		if s.Received.Point != end || s.Spooled.Point != end || s.Archived.Point != end || s.ArchivedSegment != uint64(len(segments)) || s.SpoolBytes != 0 {
			t.Errorf("%s: %+v", tt.name, s)
		}
	}
}
