package archiver

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestObserve: a change of the server's variables begins a segment, which records them; what was observed before does not, and
// no process that ends takes it along.
func TestObserve(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	p := sample(seed, 500, 3000)
	b := newBench(t)
	observe := func(a *Archiver, value string) {
		t.Helper()
		if err := a.Observe(map[string]string{"sql_mode": value}); err != nil {
			t.Fatal(err)
		}
	}
	a := b.mustOpen()
	r := run(a)
	observe(a, "first")
	for _, value := range []string{"first", "second", "second"} {
		if err := feed(a, p, 1<<20, 20_000); !errors.Is(err, errEnd) {
			t.Fatalf("seed %d: %v", seed, err)
		}
		observe(a, value)
	}
	if err := feed(a, p, 1<<20, 20_000); !errors.Is(err, errEnd) {
		t.Fatalf("seed %d: %v", seed, err)
	}
	r.kill()
	a = b.mustOpen()
	if err := feed(a, p, 1<<20, 0); !errors.Is(err, errEnd) {
		t.Fatalf("seed %d: %v", seed, err)
	}
	if err := a.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	segments := b.check(p, nil)
	var said []string
	for _, s := range segments {
		if s.Variables != nil {
			said = append(said, s.Variables["sql_mode"])
		}
	}
	if fmt.Sprint(said) != "[first second]" || segments[0].Variables == nil {
		t.Errorf("seed %d: recorded are %v", seed, said)
	}
}
