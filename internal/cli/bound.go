package cli

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strconv"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// find returns the first and the last of the segments that a bound means: a segment's number, a GTID,
// or the name of a source file.
func find(ctx context.Context, cat *catalog.Catalog, all []*catalog.Segment, bound string) (first, last int, err error) {
	holds := func(s *catalog.Segment) bool { return s.Source.File == path.Base(bound) }
	if n, err := strconv.ParseUint(bound, 10, 64); err == nil {
		holds = func(s *catalog.Segment) bool { return s.First <= n && n <= s.Last }
	} else if g, err := gtid.Parse(bound); err == nil {
		return findGTID(ctx, cat, all, g)
	}
	first = -1
	for i, s := range all {
		if holds(s) {
			last = i
			if first < 0 {
				first = i
			}
		}
	}
	if first < 0 {
		return 0, 0, notHeld(bound)
	}
	return first, last, nil
}

func notHeld(bound string) error {
	return fault.New(fault.Unreachable, "find", bound, errors.New("no archived segment holds it")).
		WithHint("See what there is with `tidemark list --segments`; name a segment's number, a GTID, or a source file.")
}

// findGTID returns the segments that hold a transaction: one, unless its number was used again.
func findGTID(ctx context.Context, cat *catalog.Catalog, all []*catalog.Segment, g gtid.GTID) (first, last int, err error) {
	flavor := cat.Cluster.Flavor
	if (flavor == gtid.MySQL) != (g.UUID != gtid.UUID{}) {
		return 0, 0, fault.New(fault.Usage, "find", g.String(), errors.New("that is no GTID of "+flavor.String())).
			WithHint("Name a GTID as `tidemark list --segments` shows them, a segment's number, or a source file.")
	}
	likely, possible, err := candidates(flavor, all, g)
	if err != nil {
		return 0, 0, err
	}
	for _, list := range [][]int{likely, possible} {
		first = -1
		for _, i := range list {
			there, err := holdsGTID(ctx, cat, all[i], g)
			if err != nil {
				return 0, 0, err
			}
			if there {
				last = i
				if first < 0 {
					first = i
				}
			}
		}
		if first >= 0 {
			return first, last, nil
		}
	}
	return 0, 0, notHeld(g.String())
}

// candidates are the segments that may hold a transaction by their manifests: those that are behind it at their end
// and not at their beginning, and, where numbers did not rise, all that the server's number in the domain changes in. Of
// the first segment only the data tell what came before it.
func candidates(flavor gtid.Flavor, all []*catalog.Segment, g gtid.GTID) (likely, possible []int, err error) {
	for i, s := range all {
		before, err := reached(flavor, s.Before, g)
		if err != nil {
			return nil, nil, err
		}
		after, err := reached(flavor, s.After, g)
		if err != nil {
			return nil, nil, err
		}
		switch {
		case before < g.Seq && g.Seq <= after:
			likely = append(likely, i)
		case before != after:
			possible = append(possible, i)
		}
	}
	return likely, possible, nil
}

// reached is the last number of a transaction's server in its domain at a position; of MySQL, which has sets,
// that of the transaction itself or 0.
func reached(flavor gtid.Flavor, p catalog.Position, g gtid.GTID) (uint64, error) {
	if flavor == gtid.MySQL {
		set, err := gtid.ParseSet(p.GTID)
		if err != nil {
			return 0, fault.New(fault.Integrity, "read a recorded position", p.GTID, err)
		}
		if set.Contains(g) {
			return g.Seq, nil
		}
		return 0, nil
	}
	i := slices.IndexFunc(p.State, func(s string) bool {
		last, err := gtid.Parse(s)
		return err == nil && last.Domain == g.Domain && last.Server == g.Server
	})
	if i < 0 {
		return 0, nil
	}
	last, err := gtid.Parse(p.State[i])
	return last.Seq, err
}

// holdsGTID reports whether a segment holds a transaction.
func holdsGTID(ctx context.Context, cat *catalog.Catalog, s *catalog.Segment, g gtid.GTID) (bool, error) {
	r, err := cat.OpenSegment(ctx, s)
	if err != nil {
		return false, err
	}
	defer r.Close()
	for {
		ev, err := r.Next()
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if !ev.Head && ev.First && ev.Begin && ev.GTID == g {
			return true, nil
		}
	}
}
