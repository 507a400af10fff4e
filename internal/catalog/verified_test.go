package catalog

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"tidemark/internal/binlog/binlogtest"
	"tidemark/internal/fault"
	"tidemark/storage"
)

// compacted makes a segment of several members with their data.
func compacted(a *archive, list []*Segment) *Segment {
	a.t.Helper()
	s := *list[0]
	s.Members = nil
	var plain []byte
	for i, m := range list {
		r, err := a.OpenPlain(ctx, m)
		a.must(err)
		data, err := io.ReadAll(r)
		a.must(err)
		r.Close()
		if i > 0 {
			data = data[m.HeadBytes:]
		}
		plain = append(plain, data...)
		s.Members = append(s.Members, m.Members...)
	}
	last := list[len(list)-1]
	s.Last, s.After, s.ChainAfter, s.Source.End = last.Last, last.After, last.ChainAfter, last.Source.End
	s.BodyBytes = uint64(len(plain)) - s.HeadBytes
	s.BodySHA256 = sha(plain[s.HeadBytes:])
	s.Stored = a.store(SegmentDataKey(1, s.First, s.Last, "c"), plain)
	a.must(a.putNew(ctx, segmentKey(1, s.First, s.Last), segmentToWire(&s)))
	return &s
}

func events(a *archive, s *Segment) (list []binlogtest.Event, err error) {
	r, err := a.OpenSegment(ctx, s)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for {
		ev, err := r.Next()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return list, err
		}
		if !ev.Head && ev.First {
			list = append(list, binlogtest.Event{Type: ev.Type, Offset: ev.Offset, Size: ev.Size, Begin: ev.Begin, End: ev.End, Open: ev.Open, GTID: ev.GTID})
		}
	}
}

func sampleLog() (*binlogtest.Log, []uint64) {
	l := binlogtest.New(7, binlogtest.Options{})
	l.List()
	var cuts []uint64
	for seq := range uint64(9) {
		l.Rows(binlogtest.G(0, 7, seq+1), 500)
		if seq%3 == 2 && seq < 8 {
			cuts = append(cuts, l.Size())
		}
	}
	return l, cuts
}

// TestRead: the events of all segments are those of the log, also of a compacted one.
func TestRead(t *testing.T) {
	a := newArchive(t)
	l, cuts := sampleLog()
	list := a.real(l, cuts...)
	read := func(list []*Segment) (got []binlogtest.Event) {
		for _, s := range list {
			ev, err := events(a, s)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, ev...)
			a.must(a.CheckStored(ctx, s.Stored))
		}
		return got
	}
	whole := compacted(a, list[1:])
	for name, list := range map[string][]*Segment{"members": list, "compacted": {list[0], whole}} {
		got := read(list)
		if len(got) != len(l.Events) {
			t.Errorf("%s: %d events, want %d", name, len(got), len(l.Events))
			continue
		}
		for i := range got {
			if got[i] != l.Events[i] {
				t.Errorf("%s: event %d is %+v, want %+v", name, i, got[i], l.Events[i])
			}
		}
	}
}

// TestDamage: nothing that is wrong with a segment's data is read to its end.
func TestDamage(t *testing.T) {
	for _, many := range []bool{false, true} {
		for _, tt := range []struct {
			name string
			edit func(a *archive, s *Segment)
			want string
		}{
			{"missing", func(a *archive, s *Segment) { a.remove(s.Stored.Key) }, "missing"},
			{"empty", func(a *archive, s *Segment) { a.must(os.WriteFile(a.path(s.Stored.Key), nil, 0o600)) }, "0 bytes stored"},
			{"cut off", func(a *archive, s *Segment) { a.must(os.Truncate(a.path(s.Stored.Key), s.Stored.Size-3)) }, ""},
			{"one byte more", func(a *archive, s *Segment) { a.must(os.Truncate(a.path(s.Stored.Key), s.Stored.Size+1)) }, ""},
			{"a flipped bit", func(a *archive, s *Segment) {
				data, err := os.ReadFile(a.path(s.Stored.Key))
				a.must(err)
				data[len(data)/2] ^= 8
				a.must(os.WriteFile(a.path(s.Stored.Key), data, 0o600))
			}, ""},
			{"another segment's data", func(a *archive, s *Segment) {
				data, err := os.ReadFile(a.path(SegmentDataKey(1, 1, 1, "n")))
				a.must(err)
				a.must(os.WriteFile(a.path(s.Stored.Key), data, 0o600))
			}, ""},
			{"size in the manifest", func(a *archive, s *Segment) { s.Stored.Size++ }, "bytes stored"},
			{"digest in the manifest", func(a *archive, s *Segment) { s.Stored.SHA256[0] ^= 1 }, "SHA-256 is"},
			{"body larger", func(a *archive, s *Segment) {
				replace(a, s, func(p []byte) []byte { return append(p, p[s.HeadBytes:][:50]...) })
			}, "more plain bytes"},
			{"body shorter", func(a *archive, s *Segment) {
				replace(a, s, func(p []byte) []byte { return p[:len(p)-1] })
			}, "plain bytes, its manifest says"},
			{"body of only a head", func(a *archive, s *Segment) {
				replace(a, s, func(p []byte) []byte { return p[:s.HeadBytes] })
			}, "plain bytes, its manifest says"},
			{"half a head", func(a *archive, s *Segment) {
				replace(a, s, func(p []byte) []byte { return p[:s.HeadBytes/2] })
			}, "plain bytes, its manifest says"},
			{"other body", func(a *archive, s *Segment) {
				replace(a, s, func(p []byte) []byte { p[len(p)-5] ^= 1; return p })
			}, "does not match the manifest's SHA-256"},
			{"a changed event with its checksum", func(a *archive, s *Segment) {
				replace(a, s, func(p []byte) []byte { p[s.HeadBytes+3] ^= 1; return p })
			}, "does not match the manifest's SHA-256"},
			{"head's length", func(a *archive, s *Segment) { s.HeadBytes--; s.Members[0].BodyBytes++ }, "does not match the manifest's SHA-256"},
			{"compression", func(a *archive, s *Segment) { s.Stored.Compression = "lz4" }, "cannot undo"},
			{"encrypted", func(a *archive, s *Segment) { s.Stored.Recipients = []string{"0123456789abcdef"} }, "no identity is given"},
		} {
			a := newArchive(t)
			l, cuts := sampleLog()
			list := a.real(l, cuts...)
			s := list[1]
			if many {
				s = compacted(a, list[1:])
			}
			tt.edit(a, s)
			var err error
			r, oerr := a.OpenPlain(ctx, s)
			if err = oerr; err == nil {
				_, err = io.ReadAll(r)
				r.Close()
			}
			integrity := fault.Is(err, fault.Integrity) || fault.Is(err, fault.WrongKey) && tt.name == "encrypted"
			if err == nil || !integrity || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), s.Stored.Key) {
				t.Errorf("%s, many %v: %v", tt.name, many, err)
			}
			if _, err := events(a, s); err == nil || !fault.Is(err, fault.Integrity) && !fault.Is(err, fault.WrongKey) {
				t.Errorf("%s, many %v: the events end with %v", tt.name, many, err)
			}
			if tt.name == "missing" || strings.HasPrefix(tt.name, "cut") || tt.name == "size in the manifest" {
				if err := a.CheckStored(ctx, s.Stored); !fault.Is(err, fault.Integrity) {
					t.Errorf("%s: %v", tt.name, err)
				}
			}
		}
	}
}

// replace stores other plain bytes in place of a segment's, with a manifest that is right about the
// stored object.
func replace(a *archive, s *Segment, f func([]byte) []byte) {
	a.t.Helper()
	r, err := a.OpenPlain(ctx, s)
	a.must(err)
	plain, err := io.ReadAll(r)
	a.must(err)
	r.Close()
	s.Stored = a.store(s.Stored.Key, f(bytes.Clone(plain)))
}

// TestStorageIsNotDamage: a storage that fails while a segment is read is no damage to it.
func TestStorageIsNotDamage(t *testing.T) {
	a := newArchive(t)
	l, cuts := sampleLog()
	s := a.real(l, cuts...)[1]
	for _, failure := range []error{errors.New("connection reset"), context.DeadlineExceeded, io.ErrUnexpectedEOF} {
		for _, op := range []string{"get", "read"} {
			b := a.over(storage.Faulty(a.Catalog.store, func(o, key string) error {
				if o == op {
					return failure
				}
				return nil
			}))
			if _, err := events(b, s); !errors.Is(err, failure) || fault.Is(err, fault.Integrity) {
				t.Errorf("%v at %s: %v", failure, op, err)
			}
		}
	}
	if _, err := events(a, s); err != nil {
		t.Error(err)
	}
}
