package durabletest

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"tidemark/internal/durable"
)

// ErrDead is why the operations of a process that has died fail.
var ErrDead = errors.New("the process is dead")

// Mortal is a file system as a process sees it that dies at one of its steps: that operation and all
// after it are not done. A step is an operation that changes or syncs something; the others leave the disk
// as it is, so that to die there is to die at the next step.
type Mortal struct {
	*FS

	mu    sync.Mutex
	steps int
	at    int
	dead  bool
	then  func()
}

// NewMortal returns a file system over another one, whose process dies at step at, counted from 1; 0: never.
func NewMortal(under durable.FS, at int) *Mortal {
	m := &Mortal{at: at}
	m.FS = New(under, func(op, _ string) error { return m.step(op) })
	return m
}

func (m *Mortal) step(op string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if isStep(op) {
		if m.steps++; m.steps == m.at {
			m.dead = true
			if m.then != nil {
				m.then()
			}
		}
	}
	if m.dead {
		return ErrDead
	}
	return nil
}

// Steps is how many there were so far.
func (m *Mortal) Steps() int { m.mu.Lock(); defer m.mu.Unlock(); return m.steps }

// Dead reports whether the process has died.
func (m *Mortal) Dead() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.dead }

// WhenDead calls f when the process dies, or at once if it has.
func (m *Mortal) WhenDead(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.then = f; m.dead {
		f()
	}
}

// isStep reports whether an operation changes or syncs something.
func isStep(op string) bool {
	return slices.Contains([]string{"create", "write", "truncate", "sync", "rename", "link", "remove", "mkdir", "syncdir"}, op)
}

// Steps returns the steps of a log (see FS.Log), without those that a dead process tried.
func Steps(log []string) []string {
	return slices.DeleteFunc(slices.Clone(log), func(line string) bool {
		op, _, _ := strings.Cut(line, " ")
		return !isStep(op) || strings.HasSuffix(line, ": "+ErrDead.Error())
	})
}
