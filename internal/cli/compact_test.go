package cli

import (
	"testing"
	"time"

	"tidemark/internal/config"
)

// Flags come before the configuration of the cluster, and that before the defaults; no grace is said as such.
func TestCompactBounds(t *testing.T) {
	cfg := &config.Config{Clusters: []*config.Cluster{{Name: "shop", Compaction: config.Compaction{Size: config.MiB, Age: time.Minute}}}}
	for _, tt := range []struct {
		cluster string
		size    int64
		flags   compactOptions
		want    compactBounds
	}{
		{"shop", 0, compactOptions{grace: unsaid}, compactBounds{1 << 20, time.Minute, -1}},
		{"shop", 7, compactOptions{age: time.Second, grace: time.Hour}, compactBounds{7, time.Second, time.Hour}},
		{"other", 0, compactOptions{grace: unsaid}, compactBounds{}},
		{"other", 0, compactOptions{}, compactBounds{grace: -1}},
	} {
		if got := boundsOf(cfg, tt.cluster, tt.size, tt.flags); got != tt.want {
			t.Errorf("%+v: %+v", tt, got)
		}
	}
}
