// Package fault is the error type of the program: what was being done, to what,
// what kind of failure it is, and what the operator can do next.
//
// The kind decides the exit code (see table.go); the hint is a full sentence that
// names the next command. Messages are lowercase and end without punctuation.
package fault

import (
	"context"
	"errors"
	"strings"
)

// Error is a failure with the facts an operator needs. Every field but Kind may be empty.
type Error struct {
	Op      string // what was being done: "put manifest", "connect"
	Kind    Kind   // decides the exit code
	Subject string // what it was done to: a key, a host, a position
	Err     error  // the cause
	Hint    string // a full sentence naming the next step
}

// Error renders "op subject: cause". The hint is printed apart, by the command line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Subject != "" {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(e.Subject)
	}
	if e.Err != nil {
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	if b.Len() == 0 {
		return e.Kind.String()
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns an error of the kind. err may be nil when op and subject say it all.
func New(kind Kind, op, subject string, err error) *Error {
	return &Error{Op: op, Kind: kind, Subject: subject, Err: err}
}

// WithHint sets the hint and returns the error, so that it can be chained to New.
func (e *Error) WithHint(hint string) *Error {
	e.Hint = hint
	return e
}

// KindOf returns the kind of the outermost Error in err's chain. A cancelled context is
// Interrupted whatever wraps it; an error without a kind is Other.
func KindOf(err error) Kind {
	if err == nil {
		return None
	}
	if errors.Is(err, context.Canceled) {
		return Interrupted
	}
	for e := err; e != nil; {
		var f *Error
		if !errors.As(e, &f) {
			return Other
		}
		if f.Kind != Other {
			return f.Kind
		}
		e = f.Err
	}
	return Other
}

// Is reports whether err is of the kind.
func Is(err error, kind Kind) bool { return KindOf(err) == kind }

// HintOf returns the first hint found in err's chain, or "".
func HintOf(err error) string {
	for e := err; e != nil; {
		var f *Error
		if !errors.As(e, &f) {
			return ""
		}
		if f.Hint != "" {
			return f.Hint
		}
		e = f.Err
	}
	return ""
}
