package storage_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"tidemark/storage"
	"tidemark/storage/file"
)

// TestFaulty fails each operation before and after it.
func TestFaulty(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		op   string
		run  func(ctx context.Context, s storage.Store) error
		done string // what the store has then, if the operation was done
	}{
		{"put", func(ctx context.Context, s storage.Store) error { return s.Put(ctx, "new", nil, true) }, "new old"},
		{"upload", func(ctx context.Context, s storage.Store) error {
			_, err := s.Upload(ctx, "new", strings.NewReader("x"))
			return err
		}, "new old"},
		{"delete", func(ctx context.Context, s storage.Store) error { return s.Delete(ctx, "old") }, ""},
		{"get", func(ctx context.Context, s storage.Store) error { _, err := s.Get(ctx, "old", 0, -1); return err }, "old"},
		{"stat", func(ctx context.Context, s storage.Store) error { _, err := s.Stat(ctx, "old"); return err }, "old"},
		{"list", func(ctx context.Context, s storage.Store) error { _, err := list(ctx, s, "o"); return err }, "old"},
		{"next", func(ctx context.Context, s storage.Store) error { _, err := list(ctx, s, ""); return err }, "old"},
		{"read", func(ctx context.Context, s storage.Store) error {
			_, err := storage.ReadAll(ctx, s, "old", 10)
			return err
		}, "old"},
	} {
		for _, late := range []bool{false, true} {
			under := open(t)
			if err := under.Put(t.Context(), "old", []byte("old"), true); err != nil {
				t.Fatal(err)
			}
			asked := ""
			s := storage.Faulty(under, func(op, key string) error {
				if op != tt.op {
					return nil
				}
				asked = key
				if late {
					return storage.After(broken)
				}
				return broken
			})
			if err := tt.run(t.Context(), s); !errors.Is(err, broken) {
				t.Errorf("%s, late %v: got %v", tt.op, late, err)
			}
			if want := map[string]string{"put": "new", "upload": "new", "list": "o"}[tt.op]; want != "" && asked != want || asked == "" {
				t.Errorf("%s was asked about %q", tt.op, asked)
			}
			want := "old"
			if late {
				want = tt.done
			}
			if got, err := list(t.Context(), under, ""); err != nil || strings.Join(got, " ") != want {
				t.Errorf("%s, late %v: store has %q, %v; want %q", tt.op, late, got, err, want)
			}
		}
	}
}

// TestFaultyKeepsErrors: an operation that fails by itself keeps its error.
func TestFaultyKeepsErrors(t *testing.T) {
	s := storage.Faulty(open(t), func(op, key string) error { return storage.After(errors.New("late")) })
	if _, err := s.Get(t.Context(), "none", 0, -1); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Upload(t.Context(), "k", iotest.ErrReader(io.ErrUnexpectedEOF)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
}

// TestFaultyMidway: a listing and a read can break in the middle.
func TestFaultyMidway(t *testing.T) {
	broken := errors.New("broken")
	under := open(t)
	for _, key := range []string{"a", "b", "c"} {
		if err := under.Put(t.Context(), key, []byte(key), true); err != nil {
			t.Fatal(err)
		}
	}
	reads := 0
	s := storage.Faulty(under, func(op, key string) error {
		if op == "read" {
			reads++
		}
		switch {
		case op == "next" && key == "b":
			return storage.After(broken)
		case reads > 1:
			return broken
		}
		return nil
	})
	if got, err := list(t.Context(), s, ""); !slices.Equal(got, []string{"a", "b"}) || err != broken {
		t.Errorf("listed %q, %v", got, err)
	}
	r, err := s.Get(t.Context(), "c", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); string(got) != "c" || err != broken {
		t.Errorf("read %q, %v", got, err)
	}
}

func open(t *testing.T) storage.Store {
	t.Helper()
	s, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func list(ctx context.Context, s storage.Store, prefix string) ([]string, error) {
	var keys []string
	for o, err := range s.List(ctx, prefix, "") {
		if err != nil {
			return keys, err
		}
		keys = append(keys, o.Key)
	}
	return keys, nil
}
