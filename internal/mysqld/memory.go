package mysqld

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"
)

// Memory returns the bytes of memory this process may count on: what the machine has available now,
// or what its control group is limited to if that is less. It returns 0 where that cannot be read.
func Memory() int64 {
	available := meminfo("MemAvailable:")
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// "max" and enormous numbers mean: no limit.
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && limit > 0 {
			available = min(available, limit)
		}
	}
	return available
}

// TotalMemory returns the bytes of memory that the machine has, or 0 where that cannot be read.
func TotalMemory() int64 { return meminfo("MemTotal:") }

// meminfo returns a value of /proc/meminfo in bytes, or 0.
func meminfo(name string) int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) >= 2 && f[0] == name {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}
