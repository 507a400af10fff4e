// Package confine starts programs that can touch only what they are told. It is a second guard, beneath the options that
// say the same: what a server opens by a path that comes from a base backup or from a log, it opens inside or not at all.
//
//	err := confine.Start(cmd, confine.Rules{Read: []string{"/opt/mysql"}, Write: []string{target}})
//
// Linux does it, by Landlock, where the kernel has it: Available says so, and elsewhere Start starts the program as it is.
// A program that is confined stays so, with all that it starts, and can gain no privileges.
package confine

import (
	"os/exec"
	"slices"
	"strings"
)

// Rules say what a program may touch, beside what each program needs: to read and run what is installed, and to use
// /dev/null and its like.
type Rules struct {
	Read    []string // files and directories, with all below them, to read and to run; those that are not there are passed over
	Write   []string // and to change; they must be there
	Network bool     // whether it may connect over TCP, or listen
}

// Start starts a command as its Start does. Its end is waited for in the same way.
func Start(cmd *exec.Cmd, rules Rules) error { return start(cmd, rules) }

// Available returns why programs are not confined here; nil if they are.
func Available() error { return available() }

// installed is what each program may read and run: what the machine's packages have installed, and what the kernel tells.
var installed = []string{
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix/store", "/gnu/store", "/snap",
	"/proc", "/sys", "/run/systemd/resolve", "/run/resolvconf",
}

// devices are those that each program may use.
var devices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}

// Explain returns a sentence for the user, when what a program said may be about something outside of its rules; "" otherwise.
func (r Rules) Explain(said string) string {
	if Available() != nil || !slices.ContainsFunc(denials, func(d string) bool { return strings.Contains(strings.ToLower(said), d) }) {
		return ""
	}
	return "It was confined: it could change files in " + strings.Join(r.Write, ", ") + " only, and read no others but what is " +
		"installed. If that is what was denied, --allow-path lets it use more."
}

// denials are how programs say that a file was denied to them, in lower case.
var denials = []string{
	"permission denied", "errcode: 13", "errno: 13", "errno 13", "error: 13", "error 13", "error number 13", "must be writable",
}
