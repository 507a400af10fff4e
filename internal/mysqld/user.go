package mysqld

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"

	"tidemark/internal/fault"
)

// User is the account of the machine under which a server and its tools run, and which owns their
// files.
type User struct {
	Name     string
	UID, GID int
}

// ServerUser returns the account to run servers under: our own, or if we are root the account
// mysql where there is one, because a server refuses to run as root unless it is told to.
func ServerUser() (User, error) {
	self := User{Name: strconv.Itoa(os.Getuid()), UID: os.Getuid(), GID: os.Getgid()}
	if self.UID != 0 {
		return self, nil
	}
	u, err := user.Lookup("mysql")
	if err != nil {
		self.Name = "root"
		return self, nil
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err1 != nil || err2 != nil {
		return self, fmt.Errorf("account mysql has the IDs %q and %q, which are no numbers", u.Uid, u.Gid)
	}
	return User{Name: u.Username, UID: uid, GID: gid}, nil
}

// other reports whether u is not who we are.
func (u User) other() bool { return u.UID != os.Getuid() }

// Own gives files to the user, without following links. Only root can give them to another user.
func (u User) Own(paths ...string) error {
	if os.Getuid() != 0 {
		return nil
	}
	for _, path := range paths {
		if err := os.Lchown(path, u.UID, u.GID); err != nil {
			return err
		}
	}
	return nil
}

// Command prepares a program to run as the user in a directory. It ends with the context, and with
// this process.
func (u User) Command(ctx context.Context, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = attributes(u)
	return cmd
}

// CheckEnter returns an error when the user cannot run the program in the directory, as when a
// parent of it is closed to the user.
func (u User) CheckEnter(ctx context.Context, program, dir string) error {
	if err := u.Command(ctx, dir, program, "--no-defaults", "--version").Run(); err != nil {
		return fault.New(fault.Other, "enter", dir, fmt.Errorf("as user %s, under which the server runs: %w", u.Name, err)).
			WithHint("Choose a directory whose parents user " + u.Name + " may enter, or run as another user.")
	}
	return nil
}
