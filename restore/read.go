package restore

import (
	"context"
	"errors"
	"io"

	"tidemark/internal/catalog"
)

// Read reads all that the plan needs as Run does, without a server: the stream of the base backup into
// base, and into log the bytes of the source's events that would be applied, one file behind the other.
// It returns the error that would end a restore, of kind Integrity for what is damaged; both have been
// written whole when it returns nil.
func (p *Plan) Read(ctx context.Context, c *catalog.Catalog, base, log io.Writer) error {
	for _, part := range p.base.Parts {
		if err := readPart(ctx, c, part, base); err != nil {
			return err
		}
	}
	for s := range ahead(ctx, c, p.segments) {
		planned := p.segments[s.index]
		from, to := planned.Source.Start, planned.Source.End
		if s.index == 0 {
			from = p.from
		}
		if s.index == len(p.segments)-1 {
			to = p.Stop.Offset
		}
		if err := s.readEvents(ctx, from, to, log); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// readEvents writes the events between two offsets, and reads to the end of the segment.
func (s *source) readEvents(ctx context.Context, from, to uint64, log io.Writer) error {
	if from >= to {
		return nil
	}
	r, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	for {
		ev, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return s.wrong(err)
		}
		if ev.Head || ev.Offset < from || ev.Offset >= to {
			continue
		}
		if _, err := log.Write(ev.Data); err != nil {
			return err
		}
	}
}
