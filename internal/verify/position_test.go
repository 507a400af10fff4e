package verify

import (
	"testing"

	"tidemark/internal/durable/durabletest"
)

// TestPositionOrder holds how the position of the checks is kept.
func TestPositionOrder(t *testing.T) {
	fsys := durabletest.New(durabletest.NewMem(), nil)
	if err := new(Position).Save(fsys, "/shop"); err != nil {
		t.Fatal(err)
	}
	durabletest.Golden(t, "position", "The first time that it is recorded how far the checks are in.", fsys.Log())
}
