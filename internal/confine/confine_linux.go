package confine

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What programs may do by Landlock. Making device nodes and links is in none of these: nobody here needs it.
const (
	reading = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	writing = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR |
		unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE |
		unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_DIR |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO |
		unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REFER
	using = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV

	// Of these, what there is for a file that is no directory.
	ofFiles = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV

	network = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
)

// Versions of Landlock's interface. Before the second nothing could be renamed from one directory to another.
const (
	leastABI    = 2
	truncateABI = 3
	networkABI  = 4
	ioctlABI    = 5
)

// version asks the kernel for the version of Landlock, once.
var version = sync.OnceValues(func() (int, error) {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch {
	case errno != 0:
		return 0, fmt.Errorf("the kernel has no Landlock: %w", errno)
	case abi < leastABI:
		return 0, errors.New("the kernel's Landlock is older than of Linux 5.19")
	}
	return int(abi), nil
})

func available() error {
	_, err := version()
	return err
}

func start(cmd *exec.Cmd, rules Rules) error {
	abi, err := version()
	if err != nil {
		return cmd.Start()
	}
	ruleset, err := newRuleset(abi, rules)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(ruleset) }()
	started := make(chan error)
	onOwnThread(func() {
		err := restrict(ruleset)
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		if err == nil {
			outlive(cmd.Process.Pid)
		}
	})
	return <-started
}

// onOwnThread calls f on a thread that ends with it. What f does to its thread is done to no other: the runtime makes no
// threads from one that is locked to a goroutine. It cannot end the process's first thread, which is therefore left alone.
func onOwnThread(f func()) {
	go func() {
		runtime.LockOSThread() // for good: the thread goes with the goroutine
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		began := make(chan struct{})
		go func() { // while we hold the first thread this one is another's
			runtime.LockOSThread()
			close(began)
			f()
		}()
		<-began
		runtime.UnlockOSThread()
	}()
}

// outlive returns when a child has ended: a child can be told to die with the thread that started it. It leaves the child
// to whoever waits for it.
func outlive(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// restrict confines the calling thread.
func restrict(ruleset int) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0, 0); errno != 0 {
		return fmt.Errorf("confine a program: %w", errno)
	}
	return nil
}

// newRuleset returns a descriptor of the rules.
func newRuleset(abi int, rules Rules) (int, error) {
	// All that a file can suffer is forbidden, but for what a rule allows.
	attr := unix.LandlockRulesetAttr{Handled_access_fs: unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1 | unix.LANDLOCK_ACCESS_FS_REFER}
	if abi >= truncateABI {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= ioctlABI {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= networkABI && !rules.Network {
		attr.Handled_access_net = network
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return -1, fmt.Errorf("make rules for a program: %w", errno)
	}
	ruleset := int(fd)
	for _, group := range []struct {
		paths  []string
		access uint64
		absent bool // they may be
	}{
		{installed, reading, true}, {devices, using, true}, {rules.Read, reading, true}, {rules.Write, writing, false},
	} {
		for _, path := range group.paths {
			err := allow(ruleset, path, group.access&attr.Handled_access_fs)
			if group.absent && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EACCES)) {
				continue
			}
			if err != nil {
				_ = unix.Close(ruleset)
				return -1, fmt.Errorf("make rules for a program: %s: %w", path, err)
			}
		}
	}
	return ruleset, nil
}

// allow adds a rule for a file or directory.
func allow(ruleset int, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= ofFiles
	}
	attr := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&attr)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
