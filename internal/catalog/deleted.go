package catalog

import (
	"context"

	"tidemark/internal/gtid"
)

// DeletedDomains returns, of MariaDB, the last transactions of the domains that a timeline's log has held and its position
// does not name any more: they were deleted from the binlog (FLUSH BINARY LOGS DELETE_DOMAIN_ID).
func (c *Catalog) DeletedDomains(ctx context.Context, timeline uint32, reached *gtid.State) ([]gtid.GTID, error) {
	lineage, err := c.Lineage(ctx, timeline)
	if err != nil {
		return nil, err
	}
	tips := make(gtid.Position)
	note := func(s *Segment) error {
		if s == nil {
			return nil
		}
		p, err := gtid.ParsePosition(s.After.GTID)
		for domain, g := range p {
			if _, known := tips[domain]; !known && reached.Tip(domain).IsZero() {
				tips[domain] = g // the newest timeline comes first
			}
		}
		return err
	}
	end := uint64(0) // of what is the past of the timeline before; 0: all
	for _, t := range lineage {
		var files []*Segment // the last segments of files: there a list replaces what came before
		for s, err := range c.Segments(ctx, t.Number, 0) {
			if err != nil {
				return nil, err
			}
			if end > 0 && s.First > end {
				break
			}
			if n := len(files); n > 0 && files[n-1].Source.SameFile(s.Source) {
				files[n-1] = s
			} else {
				files = append(files, s)
			}
		}
		for i := len(files) - 1; i >= 0; i-- {
			if err := note(files[i]); err != nil {
				return nil, err
			}
		}
		end = t.ParentSegment
		if !t.Continues() {
			break
		}
	}
	return tips.List(), nil
}
