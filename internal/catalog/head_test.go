package catalog

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"tidemark/internal/fault"
	"tidemark/storage"
)

func TestHeads(t *testing.T) {
	a := newArchive(t)
	if h, err := a.LastHead(ctx, 1); h != nil || err != nil {
		t.Errorf("without any: %+v, %v", h, err)
	}
	const many = keepHeads + 7
	for i := range many {
		h := &Head{Timeline: 1, Segment: uint64(i + 1), Chain: sha([]byte{byte(i)}), Position: Position{GTID: "0-1-5", State: []string{"0-1-5"}},
			CoveredUntil: birth.Add(time.Duration(i) * time.Second), Written: birth, Writer: "writer"}
		a.must(a.PutHead(ctx, h))
		if h.Sequence != uint64(i+1) {
			t.Errorf("head %d has number %d", i+1, h.Sequence)
		}
	}
	h, err := a.LastHead(ctx, 1)
	if err != nil || h.Sequence != many || h.Segment != many || h.Chain != sha([]byte{many - 1}) || h.Position.GTID != "0-1-5" ||
		!h.CoveredUntil.Equal(birth.Add((many-1)*time.Second)) || !h.Written.Equal(birth) || h.Writer != "writer" || h.Timeline != 1 {
		t.Errorf("%+v, %v", h, err)
	}
	seqs, err := a.headSequences(ctx, 1)
	if err != nil || len(seqs) != keepHeads || seqs[0] != many-keepHeads+1 {
		t.Errorf("%d heads are kept, from %d; %v", len(seqs), seqs[0], err)
	}
	if h, err := a.LastHead(ctx, 2); h != nil || err != nil {
		t.Errorf("of another timeline: %+v, %v", h, err)
	}
	// One that was moved to another number is no head of it.
	a.must(os.Rename(a.path(headKey(1, many)), a.path(headKey(1, many+1))))
	if _, err := a.LastHead(ctx, 1); !fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), fmt.Sprint("it is head ", many)) {
		t.Errorf("moved: %v", err)
	}
}

// TestHeadRace: two that write a head at the same time are two writers; one whose answer is lost is not.
func TestHeadRace(t *testing.T) {
	a := newArchive(t)
	broken := errors.New("broken")
	lost := true
	b := a.over(storage.Faulty(a.Catalog.store, func(op, key string) error {
		if op == "put" && lost {
			lost = false
			return storage.After(broken)
		}
		return nil
	}))
	h := &Head{Timeline: 1, Segment: 1, Written: birth}
	if err := b.PutHead(ctx, h); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if err := b.PutHead(ctx, h); err != nil || h.Sequence != 2 {
		t.Errorf("again: %v, number %d", err, h.Sequence)
	}
	c := a.over(storage.Faulty(a.Catalog.store, func(op, key string) error {
		if op == "put" { // someone else is faster
			a.must(a.PutHead(ctx, &Head{Timeline: 1, Segment: 9, Written: birth, Writer: "other"}))
		}
		return nil
	}))
	if err := c.PutHead(ctx, h); !fault.Is(err, fault.Locked) {
		t.Errorf("a number that is taken: %v", err)
	}
}

func TestCheckHead(t *testing.T) {
	digest := sha([]byte("x"))
	at := func(n uint64) (Digest, bool) { return digest, n <= 5 }
	for _, tt := range []struct {
		name string
		h    *Head
		want string
	}{
		{"none", nil, ""},
		{"of an empty log", &Head{Segment: 0, Chain: sha(nil)}, ""},
		{"right", &Head{Timeline: 1, Sequence: 3, Segment: 5, Chain: digest}, ""},
		{"beyond the end", &Head{Timeline: 1, Sequence: 3, Segment: 6, Chain: digest}, "reached segment 6 once"},
		{"other digest", &Head{Timeline: 1, Sequence: 3, Segment: 5, Chain: sha(nil)}, "another digest at segment 5"},
	} {
		err := CheckHead(tt.h, at)
		if tt.want == "" && err != nil || tt.want != "" && (!fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), headKey(1, 3))) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
