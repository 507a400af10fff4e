package cli

import (
	"bytes"
	"testing"
	"time"

	"tidemark/internal/clock"
)

func TestForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 20: "1.0 MiB", 1<<20 - 1: "1.0 MiB", 3 << 29: "1.5 GiB", 5 << 50: "5.0 PiB", 1 << 62: "4096.0 PiB"} {
		if got := size(n); got != want {
			t.Errorf("%d bytes: %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := count(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0.0s", 1250 * time.Millisecond: "1.2s", 42 * time.Second: "42s", 200 * time.Second: "3m 20s",
		62 * time.Minute: "1h 02m", 50 * time.Hour: "2d 02h", -time.Second: "-1.0s"} {
		if got := took(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	if got := when(begun.In(time.FixedZone("x", 3600))); got != "2026-11-20 03:00:00 UTC" {
		t.Error(got)
	}
	if when(time.Time{}) != "" || when(time.Unix(0, 0)) != "" {
		t.Error("no time is some time")
	}
}

func TestTable(t *testing.T) {
	x := new(text)
	x.table([]string{"name", ">size", "note"}, [][]string{{"a", "1 B", ""}, {"bö", "100 B", "x"}})
	want := "  name   size  note\n  a       1 B  -\n  bö    100 B  x\n"
	if got := x.b.String(); got != want {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
}

// stopped is a clock that tests move.
type stopped struct {
	clock.System
	now time.Time
}

func (s *stopped) Now() time.Time { return s.now }

func TestProgress(t *testing.T) {
	for mode, want := range map[progressMode]string{
		silent:   "",
		terminal: "\rone\rthree\r     \r",
		lines:    "three\n",
		objects:  "{\"progress\":1}\n{\"progress\":3}\n",
	} {
		var out bytes.Buffer
		c := &stopped{now: begun}
		p := &progress{w: &out, clock: c, mode: mode}
		if mode == lines {
			p.last = begun
		}
		p.show("one", 1)
		p.show("two", 2)
		c.now = begun.Add(11 * time.Second)
		p.show("three", 3)
		p.done()
		if got := out.String(); got != want {
			t.Errorf("mode %d: %q, want %q", mode, got, want)
		}
	}
}
