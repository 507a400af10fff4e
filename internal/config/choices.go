package config

import (
	"fmt"
	"slices"
	"strings"
)

// Start says where a new archive begins.
type Start string

// The starts.
const (
	StartOldest Start = "oldest"
	StartNow    Start = "now"
)

// Follow says which of several hosts is archived.
type Follow string

// What is followed.
const (
	FollowPrimary Follow = "primary"
	FollowAny     Follow = "any"
)

// Ack says when a semi-synchronous primary is told that a transaction is safe.
type Ack string

// The promises.
const (
	AckNone    Ack = "none"
	AckSpool   Ack = "spool"
	AckArchive Ack = "archive"
)

// OnFull says what becomes of a primary that waits for acknowledgements when the spool is full.
type OnFull string

// What can become of it.
const (
	OnFullRelease OnFull = "release"
	OnFullHold    OnFull = "hold"
)

// Missing is a setting of a primary because of which its binlog lacks changes.
type Missing string

// The settings that can be accepted.
const (
	MissingDoDB         Missing = "binlog_do_db"
	MissingIgnoreDB     Missing = "binlog_ignore_db"
	MissingSlaveUpdates Missing = "log_slave_updates"
)

// UnmarshalText accepts the settings there are.
func (m *Missing) UnmarshalText(b []byte) error {
	return choose(m, b, MissingDoDB, MissingIgnoreDB, MissingSlaveUpdates)
}

// Engine is what copies a server.
type Engine string

// The engines.
const (
	EngineAuto       Engine = "auto"
	EngineMariaDB    Engine = "mariadb-backup"
	EngineClone      Engine = "clone"
	EngineXtraBackup Engine = "xtrabackup"
)

// UnmarshalText accepts the starts there are.
func (s *Start) UnmarshalText(b []byte) error { return choose(s, b, StartOldest, StartNow) }

// UnmarshalText accepts what can be followed.
func (f *Follow) UnmarshalText(b []byte) error { return choose(f, b, FollowPrimary, FollowAny) }

// UnmarshalText accepts the promises there are.
func (a *Ack) UnmarshalText(b []byte) error { return choose(a, b, AckNone, AckSpool, AckArchive) }

// UnmarshalText accepts what there is.
func (o *OnFull) UnmarshalText(b []byte) error { return choose(o, b, OnFullRelease, OnFullHold) }

// UnmarshalText accepts the engines there are.
func (e *Engine) UnmarshalText(b []byte) error {
	return choose(e, b, EngineAuto, EngineMariaDB, EngineClone, EngineXtraBackup)
}

// choose sets v to the value that is written in b.
func choose[T ~string](v *T, b []byte, values ...T) error {
	if i := slices.Index(values, T(b)); i >= 0 {
		*v = values[i]
		return nil
	}
	names := make([]string, len(values))
	for i, value := range values {
		names[i] = string(value)
	}
	last := len(names) - 1
	return fmt.Errorf("%q is not known here: write %s or %s", b, strings.Join(names[:last], ", "), names[last])
}
