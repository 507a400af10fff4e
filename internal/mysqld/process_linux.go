package mysqld

import "syscall"

// attributes make a child that runs as the user, dies with us however we end, and is no target of
// the terminal's Ctrl-C.
func attributes(u User) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if u.other() {
		attr.Credential = &syscall.Credential{Uid: uint32(u.UID), Gid: uint32(u.GID)}
	}
	return attr
}
