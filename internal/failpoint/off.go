//go:build !failpoints

package failpoint

// Before marks that a step is about to be done.
func Before(Step) {}

// After marks that a step has been done, or has failed.
func After(Step) {}
