package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"tidemark/internal/clock"
)

// progress shows how far a long command is: one line that is written over on a terminal, a line now
// and then elsewhere, and objects on lines of their own with --json.
type progress struct {
	w     io.Writer
	clock clock.Clock
	mode  progressMode

	mu    sync.Mutex
	last  time.Time
	drawn int // columns of the line on the terminal
}

type progressMode int

const (
	silent progressMode = iota
	terminal
	lines
	objects
)

func (a *app) progress() *progress {
	p := &progress{w: a.Stderr, clock: a.Clock, mode: lines}
	switch {
	case a.quiet:
		p.mode = silent
	case a.json:
		p.mode = objects
	case isTerminal(a.Stderr):
		p.mode = terminal
	}
	if p.mode == lines {
		p.last = a.Clock.Now() // what is done soon needs no progress
	}
	return p
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// pause is how long nothing is shown after something was.
func (p *progress) pause() time.Duration {
	switch p.mode {
	case terminal:
		return 200 * time.Millisecond
	case objects:
		return time.Second
	}
	return 10 * time.Second
}

// show shows the state of things, if it is time to: line to people, data to programs.
func (p *progress) show(line string, data any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	if p.mode == silent || now.Sub(p.last) < p.pause() {
		return
	}
	p.last = now
	switch p.mode {
	case terminal:
		fmt.Fprintf(p.w, "\r%-*s", p.drawn, line)
		p.drawn = len(line)
	case lines:
		fmt.Fprintln(p.w, line)
	case objects:
		if b, err := json.Marshal(map[string]any{"progress": data}); err == nil {
			fmt.Fprintf(p.w, "%s\n", b)
		}
	}
}

// done leaves the terminal's line empty.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode == terminal && p.drawn > 0 {
		fmt.Fprintf(p.w, "\r%-*s\r", p.drawn, "")
		p.drawn = 0
	}
}

// percent writes a share of the whole, "42%".
func percent(part, whole int64) string {
	if whole <= 0 {
		return "0%"
	}
	return fmt.Sprintf("%d%%", min(100, part*100/whole))
}
