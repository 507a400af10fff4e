//go:build !linux

package mysqld

import "syscall"

// attributes make a child that runs as the user and is no target of the terminal's Ctrl-C. Only
// Linux can let it die with us.
func attributes(u User) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if u.other() {
		attr.Credential = &syscall.Credential{Uid: uint32(u.UID), Gid: uint32(u.GID)}
	}
	return attr
}
