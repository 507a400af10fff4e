package catalog

import (
	"context"
	"slices"

	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// A MySQL server has executed transactions that no log of its own holds: those of the dump, clone or backup that it was
// filled with (gtid_purged), and what was written while its binlog was off. It never lists them in a binlog, whatever
// is rotated or restarted; a base backup holds them, and says so.

// Unlogged returns what a base backup of MySQL holds that is in no log, given the segment in which it lies.
func (b *Base) Unlogged(s *Segment) (*gtid.Set, error) {
	held, err := gtid.ParseSet(b.PositionMax.GTID)
	if err != nil {
		return nil, damaged("read the position of base backup "+b.ID+" in", baseKey(b.ID), err)
	}
	logged, err := gtid.ParseSet(s.After.GTID)
	if err != nil {
		return nil, damaged("read the position behind segment "+s.Name()+" in", segmentKey(s.Timeline, s.First, s.Last), err)
	}
	held.Subtract(logged)
	return held, nil
}

// Unlogged returns what the base backups that serve a timeline hold that is in no log: nothing, of MariaDB.
func (c *Catalog) Unlogged(ctx context.Context, timeline uint32) (*gtid.Set, error) {
	all := new(gtid.Set)
	if c.Cluster.Flavor != gtid.MySQL {
		return all, nil
	}
	lineage, err := c.Lineage(ctx, timeline)
	if err != nil {
		return nil, err
	}
	var serving []uint32
	for _, t := range lineage {
		serving = append(serving, t.Number)
		if !t.Continues() {
			break
		}
	}
	bases, err := c.Bases(ctx)
	if err != nil {
		return nil, err
	}
	for _, b := range bases {
		if !slices.Contains(serving, b.Timeline) {
			continue
		}
		s, err := c.segmentAt(ctx, b.Timeline, b.Segment)
		if fault.Is(err, fault.Integrity) { // the log there has expired, or is damaged
			continue
		}
		if err != nil {
			return nil, err
		}
		one, err := b.Unlogged(s)
		if err != nil {
			return nil, err
		}
		all.Union(one)
	}
	return all, nil
}
