package main

import (
	"os"
	"syscall"
)

// maxRSS is the largest resident set of a process that has ended, in MiB.
func maxRSS(s *os.ProcessState) int64 {
	if r, ok := s.SysUsage().(*syscall.Rusage); ok {
		return r.Maxrss >> 10
	}
	return 0
}
