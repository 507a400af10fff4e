//go:build !linux

package durable

// Reread does nothing here: the kernel offers nothing.
func Reread(File) {}
