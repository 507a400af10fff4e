package servertest

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// startBound starts a program that dies with us, however we end. The kernel binds it to the thread that starts it, not to
// the process; a test that confines a private server ends threads. So one that never ends starts all programs.
func startBound(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	done := make(chan error)
	starter() <- func() { done <- cmd.Start() }
	return <-done
}

var starter = sync.OnceValue(func() chan<- func() {
	calls := make(chan func())
	go func() {
		runtime.LockOSThread()
		for call := range calls {
			call()
		}
	}()
	return calls
})
