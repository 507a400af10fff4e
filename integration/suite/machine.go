package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"
)

// reading is what the machine is like at a moment.
type reading struct {
	work       time.Duration // for a fixed piece of work on all processors at once
	idle, busy float64       // ticks of all processors since the start
}

// reference is the work's time on the machine for which the budget was made, when it did nothing else.
const reference = 430 * time.Millisecond

// measure reads the machine's speed and its processors' times.
func measure() (reading, error) {
	began := time.Now()
	var all sync.WaitGroup
	for range runtime.NumCPU() {
		all.Go(func() {
			block := make([]byte, 1<<20)
			for range 512 {
				sum := sha256.Sum256(block)
				copy(block, sum[:])
			}
		})
	}
	all.Wait()
	r := reading{work: time.Since(began)}
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return r, err
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	var user, nice, system, idle, wait, irq, soft, steal float64
	if _, err := fmt.Sscanf(line, "cpu %f %f %f %f %f %f %f %f", &user, &nice, &system, &idle, &wait, &irq, &soft, &steal); err != nil {
		return r, fmt.Errorf("read /proc/stat: %w", err)
	}
	r.idle, r.busy = idle+wait, user+nice+system+irq+soft+steal
	return r, nil
}

// slower is how many times as slow as the budget's the machine is.
func (r reading) slower() float64 { return float64(r.work) / float64(reference) }

// idleSince is the share of the time since an earlier reading in which processors did nothing.
func (r reading) idleSince(before reading) float64 {
	idle, busy := r.idle-before.idle, r.busy-before.busy
	if idle+busy <= 0 {
		return 0
	}
	return idle / (idle + busy)
}

// loadAverage is the kernel's, of the last one, five and fifteen minutes.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}
