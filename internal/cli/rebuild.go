package cli

import (
	"context"
	"fmt"
	"io"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
)

// catFile is a source's binlog file, as far as the selected segments hold it.
type catFile struct {
	Name         string `json:"name"`
	Source       string `json:"source_file"` // what the server called it
	FirstSegment uint64 `json:"first_segment"`
	LastSegment  uint64 `json:"last_segment"`
	Start        uint64 `json:"start"` // in the server's file
	End          uint64 `json:"end"`
	FromStart    bool   `json:"from_start"` // byte for byte the server's own
	Bytes        int64  `json:"bytes"`

	segments []*catalog.Segment
}

// sourceFiles puts segments of one source file together, in order.
func sourceFiles(segments []*catalog.Segment) []*catFile {
	var files []*catFile
	used := make(map[string]int)
	for i, s := range segments {
		if i == 0 || !s.Source.SameFile(segments[i-1].Source) {
			f := &catFile{Name: s.Source.File, Source: s.Source.File, FirstSegment: s.First, Start: s.Source.Start, FromStart: s.Source.Start == 4}
			if used[f.Source]++; used[f.Source] > 1 {
				f.Name = fmt.Sprintf("%s.%d", f.Source, used[f.Source])
			}
			files = append(files, f)
		}
		f := files[len(files)-1]
		f.segments = append(f.segments, s)
		f.LastSegment, f.End = s.Last, s.Source.End
	}
	return files
}

// size is how many bytes copy writes.
func (f *catFile) size() int64 {
	n := f.segments[0].HeadBytes
	for _, s := range f.segments {
		n += s.BodyBytes
	}
	return int64(n)
}

// copy writes the file: the first segment whole, and of the others what the source wrote.
func (f *catFile) copy(ctx context.Context, cat *catalog.Catalog, w io.Writer, progress func(int64)) (int64, error) {
	out := &counter{w: w, progress: progress}
	for i, s := range f.segments {
		r, err := cat.OpenPlain(ctx, s)
		if err != nil {
			return out.n, err
		}
		if i > 0 {
			_, err = io.CopyN(io.Discard, r, int64(s.HeadBytes))
		}
		if err == nil {
			_, err = io.Copy(out, r)
		}
		r.Close()
		if err != nil {
			return out.n, err
		}
	}
	return out.n, nil
}

// counter counts what is written.
type counter struct {
	w        io.Writer
	n        int64
	progress func(int64)
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.progress(c.n)
	if err != nil {
		err = fault.New(fault.Other, "write", "", err)
	}
	return n, err
}

// selectSegments returns the segments of a timeline from one bound to the other, without a hole.
func selectSegments(ctx context.Context, cat *catalog.Catalog, o catOptions) ([]*catalog.Segment, error) {
	t, err := cat.Timeline(ctx, o.timeline)
	if err != nil {
		return nil, err
	}
	var all []*catalog.Segment
	if _, err := cat.Overview(ctx, func(s *catalog.Segment) {
		if s.Timeline == t.Number {
			all = append(all, s)
		}
	}); err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fault.New(fault.Unreachable, "read", cat.URL(), fmt.Errorf("timeline %d has no segments yet", t.Number))
	}
	from, to := 0, len(all)-1
	if o.from != "" {
		if from, _, err = find(ctx, cat, all, o.from); err != nil {
			return nil, err
		}
	}
	if o.to != "" {
		if _, to, err = find(ctx, cat, all, o.to); err != nil {
			return nil, err
		}
	}
	if from > to {
		return nil, usage(fmt.Sprintf("--from %s comes after --to %s", o.from, o.to), "tidemark cat")
	}
	all = all[from : to+1]
	for i := 1; i < len(all); i++ {
		if want := all[i-1].Last + 1; all[i].First != want {
			return nil, fault.New(fault.Unreachable, "read", cat.URL(), fmt.Errorf("segments %d to %d are missing", want, all[i].First-1)).
				WithHint("Choose what lies before or after the hole with --from and --to; `tidemark verify` says more.")
		}
	}
	return all, nil
}
