package durable

import (
	"os"

	"golang.org/x/sys/unix"
)

// Reread lets the next reads of a file come from the disk, where the kernel can tell: after a sync that
// has failed, in an earlier process perhaps, its memory still has what the disk never got, as if that were written.
// What is still to be written stays, for the next sync to vouch for.
func Reread(f File) {
	switch f := f.(type) {
	case *os.File:
		_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // advice: a file system may not take it
	case interface{ Reread() }: // it stands before another one
		f.Reread()
	}
}
