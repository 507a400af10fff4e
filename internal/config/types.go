package config

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, written "64MiB".
type Size int64

// The units of Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
)

var units = []struct {
	name string
	size Size
}{{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}}

// String writes the size in the largest unit that gives a whole number.
func (s Size) String() string {
	for _, u := range units {
		if s != 0 && s%u.size == 0 {
			return fmt.Sprintf("%d%s", s/u.size, u.name)
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// UnmarshalText reads a whole number of bytes, or of a binary unit.
func (s *Size) UnmarshalText(b []byte) error {
	number, unit := string(b), Size(1)
	for _, u := range units {
		if n, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = strings.TrimSpace(n), u.size
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > int64(1<<62)/int64(unit) {
		return fmt.Errorf("%q is not a size: write a number of bytes, or of KiB, MiB, GiB or TiB, as 64MiB", b)
	}
	*s = Size(n) * unit
	return nil
}

// parseDuration reads what time.ParseDuration reads, and days.
func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok && err != nil {
		var n int64
		n, err = strconv.ParseInt(days, 10, 32)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a duration: write a number with a unit, as 500ms, 5s, 10m, 2h or 14d", text)
	}
	return d, nil
}

// formatDuration is time.Duration.String without units that are zero.
func formatDuration(d time.Duration) string {
	s := d.String()
	if t, ok := strings.CutSuffix(s, "m0s"); ok {
		s = t + "m"
	}
	if t, ok := strings.CutSuffix(s, "h0m"); ok {
		s = t + "h"
	}
	return s
}

// Address is where a server listens.
type Address struct {
	Network string // "tcp" or "unix"
	Addr    string // host:port, or the absolute path of a socket
}

// ParseAddress reads "host", "host:port", "[ipv6]:port" or the absolute path of a socket.
func ParseAddress(s string) (Address, error) {
	if filepath.IsAbs(s) {
		return Address{"unix", s}, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil && !strings.Contains(s, ":") {
		host, port, err = s, "3306", nil
	}
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || n == 0 || host == "" || strings.ContainsAny(host, "/@ ") {
		return Address{}, fmt.Errorf("%q is not an address: write host:port, [ipv6]:port, or the absolute path of a socket", s)
	}
	return Address{"tcp", net.JoinHostPort(host, port)}, nil
}

// String returns the address as it is written.
func (a Address) String() string { return a.Addr }

// UnmarshalText is ParseAddress.
func (a *Address) UnmarshalText(b []byte) (err error) {
	*a, err = ParseAddress(string(b))
	return err
}

// Host returns the host name or address without its port, or "" for a socket.
func (a Address) Host() string {
	if a.Network != "tcp" {
		return ""
	}
	host, _, _ := net.SplitHostPort(a.Addr)
	return host
}

// Local reports whether the address stays on this machine: a socket or a loopback address.
func (a Address) Local() bool {
	ip := net.ParseIP(a.Host())
	return a.Network == "unix" || a.Host() == "localhost" || ip != nil && ip.IsLoopback()
}

// String returns the start as it is written.
func (s Start) String() string { return string(s) }

// UnmarshalText accepts the starts there are.
func (s *Start) UnmarshalText(b []byte) error {
	switch v := Start(b); v {
	case StartOldest, StartNow:
		*s = v
		return nil
	}
	return fmt.Errorf("%q is no place to start: write oldest or now", b)
}

// String returns the engine as it is written.
func (e Engine) String() string { return string(e) }

// UnmarshalText reads the name of an engine.
func (e *Engine) UnmarshalText(b []byte) error {
	switch v := Engine(b); v {
	case EngineAuto, EngineMariaDB, EngineClone, EngineXtraBackup:
		*e = v
		return nil
	}
	return fmt.Errorf("%q is none of auto, mariadb-backup, clone and xtrabackup", b)
}
