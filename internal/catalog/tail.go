package catalog

import "context"

// Following returns the segments of a timeline that come after one of its segments, in order, each checked
// against the one before it. It lists only what begins behind that, so it may be asked often. A hole, or
// a contradiction, is an error of kind Integrity; so is a segment that was put together with ones before last.
func (c *Catalog) Following(ctx context.Context, last *Segment) ([]*Segment, error) {
	spans, err := c.coverFrom(ctx, last.Timeline, last.Last+1, last.Last+1)
	if err != nil {
		return nil, err
	}
	read, err := c.manifests(ctx, last.Timeline, spans)
	if err != nil {
		return nil, err
	}
	var list []*Segment
	prev := last
	for f := range read {
		if f.err == nil {
			f.err = follows(nil, prev, f.seg)
		}
		if f.err != nil {
			return nil, f.err
		}
		list, prev = append(list, f.seg), f.seg
	}
	return list, nil
}
