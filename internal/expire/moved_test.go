package expire

import (
	"strings"
	"testing"

	"tidemark/internal/catalog"
	"tidemark/storage"
)

// TestMoved: a run in the midst of whose reading another one records and removes does not record less than
// the other one did.
func TestMoved(t *testing.T) {
	h, _ := days(t, 7)
	p := Policy{Window: 73 * hour, MinBackups: 1}
	ran := false
	store := storage.Faulty(h.store, func(op, key string) error {
		if op == "list" && strings.HasSuffix(key, "/log/00000001/0") && !ran {
			ran = true
			_, err := h.expire(p, 0)
			must(t, err)
		}
		return nil
	})
	cat, err := catalog.Open(ctx, store, "default", "test")
	must(t, err)
	first := h.begins(1)
	_, err = Run(ctx, cat, Options{Policy: p, Clock: stopped(h.now)})
	must(t, err)
	if !ran || h.begins(1) <= first {
		t.Errorf("another run was in its midst: %v, and the log begins with %d", ran, h.begins(1))
	}
	must(t, h.clean())
}
