package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// memory is where Linux keeps files that are in memory only.
const memory = "/dev/shm"

// enough is how much must be free there and of the machine's memory, in GiB.
const enough = 12

// temporary returns a directory for the temporary files of tests, and how to remove it. It is in memory where
// there is plenty: disks take most of the time of tests that sync, and no test takes the machine's power
// away. TIDEMARK_TEST_DISK=1 leaves them on the disk.
func temporary(out io.Writer) (dir string, remove func(), err error) {
	parent := ""
	if os.Getenv("TIDEMARK_TEST_DISK") != "1" && freeGiB() >= enough {
		parent = memory
		fmt.Fprintf(out, "suite: temporary files are in %s; TIDEMARK_TEST_DISK=1 has them on the disk\n", memory)
	}
	dir, err = os.MkdirTemp(parent, "tidemark-test-")
	return dir, func() { _ = os.RemoveAll(dir) }, err
}

// freeGiB is what can be used of the files in memory.
func freeGiB() int {
	var fs syscall.Statfs_t
	const tmpfs = 0x01021994
	if err := syscall.Statfs(memory, &fs); err != nil || fs.Type != tmpfs {
		return 0
	}
	free := int(fs.Bavail * uint64(fs.Bsize) >> 30)
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(info)) {
		var kib int
		if _, err := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); err == nil {
			return min(free, kib>>20)
		}
	}
	return 0
}
