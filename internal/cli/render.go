package cli

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"tidemark/internal/fault"
)

// result is what a command has to say. Its JSON is what encoding/json makes of it, unless it is a
// jsoner.
type result interface {
	text(t *text)
}

// jsoner is a result that writes its JSON itself.
type jsoner interface {
	json() ([]byte, error)
}

// print renders a result, and returns err or, if there is none, what went wrong with the printing.
// A command that fails may have a result all the same.
func (a *app) print(r result, err error) error {
	if r == nil {
		return err
	}
	var perr error
	if j, ok := r.(jsoner); ok && a.json {
		var data []byte
		if data, perr = j.json(); perr == nil {
			_, perr = a.Stdout.Write(append(data, '\n'))
		}
	} else if a.json {
		w := &errWriter{w: a.Stdout}
		a.encode(w, r)
		perr = w.err
	} else {
		t := new(text)
		r.text(t)
		_, perr = io.WriteString(a.Stdout, t.b.String())
	}
	if err == nil && perr != nil {
		err = fault.New(fault.Other, "write the result", "", perr)
	}
	return err
}

// errWriter remembers the first error.
type errWriter struct {
	w   io.Writer
	err error
}

func (e *errWriter) Write(p []byte) (int, error) {
	n, err := e.w.Write(p)
	e.err = errors.Join(e.err, err)
	return n, err
}

// text is a page for people.
type text struct{ b strings.Builder }

func (t *text) line(format string, args ...any) {
	fmt.Fprintf(&t.b, format, args...)
	t.b.WriteByte('\n')
}

// title begins a section, apart from what is above it.
func (t *text) title(format string, args ...any) {
	if t.b.Len() > 0 {
		t.b.WriteByte('\n')
	}
	t.line(format, args...)
}

// table writes rows in columns, indented under a header. A header that begins with '>' aligns its
// column to the right. Empty cells show as '-'.
func (t *text) table(header []string, rows [][]string) {
	const indent, gap = "  ", "  "
	names := make([]string, len(header))
	width := make([]int, len(header))
	for i, h := range header {
		names[i] = strings.TrimPrefix(h, ">")
	}
	all := append([][]string{names}, rows...)
	for _, row := range all {
		for i := range row {
			if row[i] == "" {
				row[i] = "-"
			}
			width[i] = max(width[i], utf8.RuneCountInString(row[i]))
		}
	}
	for _, row := range all {
		var b strings.Builder
		b.WriteString(indent)
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if strings.HasPrefix(header[i], ">") {
				b.WriteString(pad + cell)
			} else {
				b.WriteString(cell + pad)
			}
			b.WriteString(gap)
		}
		t.line("%s", strings.TrimRight(b.String(), " "))
	}
}

// size writes bytes for people: "1.4 GiB".
func size[T int | int64 | uint64](n T) string {
	units := []string{"KiB", "MiB", "GiB", "TiB", "PiB"}
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), ""
	for _, unit = range units {
		if f /= 1024; f < 1023.95 {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}

// count writes a number with commas: "34,555".
func count[T int | int64 | uint64](n T) string {
	s := strconv.FormatUint(uint64(n), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// counted writes a number with what it counts: "1 segment", "2,000 segments".
func counted[T int | int64 | uint64](n T, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return count(n) + " " + what + "s"
}

// when writes a time to the second in UTC, or "" for none.
func when(t time.Time) string {
	if t.IsZero() || t.Unix() <= 0 {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// took writes a duration for people: "1h 02m", "3m 20s", "4.2s".
func took(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + took(-d)
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm %02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh %02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd %02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// seconds is a number of them as a duration.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
