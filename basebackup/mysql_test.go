package basebackup

import (
	"context"
	"strings"
	"testing"

	"tidemark/internal/clock"
	"tidemark/internal/fault"
)

// TestUnencrypted connects to nothing but this host without TLS.
func TestUnencrypted(t *testing.T) {
	for host, refused := range map[string]bool{"db.example": true, "192.0.2.1": true, "::2": true, "127.0.0.1": false, "::1": false, "localhost": false} {
		m := &MySQL{Clock: clock.System{}, Primary: Primary{Host: host, Port: 1, User: "u", Password: "p"}}
		err := m.Check(context.Background())
		if err == nil || fault.HintOf(err) == "" || strings.Contains(err.Error(), "would not be encrypted") != refused {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestListNames(t *testing.T) {
	for want, list := range map[string][]string{"a": {"a"}, "a, b, c, d, e": {"a", "b", "c", "d", "e"}, "a, b, c, d, e and 2 more": {"a", "b", "c", "d", "e", "f", "g"}} {
		if got := names(list); got != want {
			t.Errorf("%q", got)
		}
	}
}
