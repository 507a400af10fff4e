package kit

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Process is what the kernel says of a running process.
type Process struct {
	RSS         int64 // resident now, bytes
	Peak        int64 // the most that was resident so far, bytes
	Descriptors int
}

// Inspect asks the kernel about a process.
func Inspect(pid int) (Process, error) {
	var p Process
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return p, err
	}
	for line := range strings.Lines(string(text)) {
		var n int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &n); err == nil {
			p.RSS = n << 10
		} else if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &n); err == nil {
			p.Peak = n << 10
		}
	}
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	p.Descriptors = len(entries)
	return p, err
}

// RunWatched runs a program to its end and returns the most memory that it had, without what it started.
// What it writes to standard error is part of the error.
func RunWatched(cmd *exec.Cmd) (peak int64, err error) {
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if err != nil {
				err = fmt.Errorf("%w\n%s", err, said.Bytes())
			}
			return peak, err
		case <-time.After(20 * time.Millisecond):
			if p, err := Inspect(cmd.Process.Pid); err == nil {
				peak = max(peak, p.Peak)
			}
		}
	}
}
