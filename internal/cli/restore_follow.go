package cli

import (
	"time"

	"github.com/spf13/cobra"

	"tidemark/internal/clock"
	"tidemark/restore"
)

// followOptions say whether the restore goes on with what is archived later.
type followOptions struct {
	follow bool
	delay  time.Duration
}

func (o *followOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.follow, "follow", false, "go on with what is archived later, until the target or a signal: a standby; the same command goes on")
	f.DurationVar(&o.delay, "delay", 0, "with --follow: apply transactions this `time` after they were committed, as 1h")
}

// wanted is what is to be followed; nil if nothing is.
func (o *followOptions) wanted(dir string, c clock.Clock) (*restore.Follow, error) {
	switch {
	case !o.follow && o.delay != 0:
		return nil, usage("--delay is for --follow", "tidemark restore")
	case o.delay < 0:
		return nil, usage("--delay is negative", "tidemark restore")
	case !o.follow:
		return nil, nil
	}
	return &restore.Follow{Delay: o.delay, Dir: dir, Clock: c}, nil
}
