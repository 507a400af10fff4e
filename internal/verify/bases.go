package verify

import (
	"maps"
	"slices"

	"tidemark/internal/catalog"
	"tidemark/internal/gtid"
)

// base is a base backup and the segment in which it lies, once the chain has shown it.
type base struct {
	*catalog.Base
	key  string
	lies *catalog.Segment
	from bool // nothing that it may lack is before the first segment of the run of the log in which it lies
}

// mayBegin reports whether nothing that the copy may lack is before a segment: MySQL's copies have a position between two.
func (b *base) mayBegin(s *catalog.Segment) bool {
	if b.PositionMin.Equal(b.PositionMax) || b.Flavor != gtid.MySQL {
		return true
	}
	least, err := gtid.ParseSet(b.PositionMin.GTID)
	if err != nil {
		return false
	}
	before, err := gtid.ParseSet(s.Before.GTID)
	return err == nil && least.ContainsSet(before)
}

// holds reports whether the copy has all that the log has at its position. It may have more, which is in no log: what a
// MySQL server was filled with, and domains that a MariaDB server knows as a replica.
func (b *base) holds(log catalog.Position) bool {
	if b.Flavor == gtid.MySQL {
		most, err := gtid.ParseSet(b.PositionMax.GTID)
		if err != nil {
			return false
		}
		at, err := gtid.ParseSet(log.GTID)
		return err == nil && most.ContainsSet(at)
	}
	held, err := gtid.ParsePosition(b.PositionMax.GTID)
	if err != nil {
		return false
	}
	at, err := gtid.ParsePosition(log.GTID)
	return err == nil && gtid.NewState(held.List()).Covers(gtid.NewState(at.List()))
}

// readBases reads the manifests of the base backups and has their parts checked.
func (v *verifier) readBases() ([]*base, error) {
	var list []*base
	for _, id := range slices.Sorted(maps.Keys(v.found.bases)) {
		if !v.found.bases[id] {
			continue // parts only
		}
		if v.expiry.Has(id) {
			v.passOver(1, 0)
			continue
		}
		b := &base{key: "base/" + id + "/manifest.json"}
		var err error
		b.Base, err = v.cat.BaseAt(v.ctx, id)
		v.progress(1, 0)
		if err != nil {
			if err := v.blame(b.key, err); err != nil {
				return nil, err
			}
			v.claim(id)
			continue
		}
		if v.o.Timeline != 0 && b.Timeline != v.o.Timeline {
			v.claim(id)
			continue
		}
		v.report.Bases++
		for _, p := range b.Parts {
			v.report.Parts++
			ok, err := v.stored(b.key, p.Stored)
			if err != nil {
				return nil, err
			}
			ok = ok && v.o.Subset.holds(p.Stored.Key)
			switch {
			case ok && v.o.Data:
				v.background(func() error { return v.part(p) })
			case ok && v.o.Stored:
				v.background(func() error { return v.bytes(p.Stored) })
			}
		}
		list = append(list, b)
	}
	return list, nil
}

// claim keeps the parts of a base backup that cannot be checked from being called orphans.
func (v *verifier) claim(id string) {
	for _, o := range v.found.data {
		if o.listed.Base == id {
			o.user = "base/" + id + "/manifest.json"
		}
	}
}

// checkBases checks that each base backup lies in the chain, where its manifest says.
func (v *verifier) checkBases(bases []*base) {
	for _, b := range bases {
		s := b.lies
		switch {
		case b.Segment == 0:
		case s == nil && b.Segment <= v.expiry.Log(b.Timeline).Through:
			v.add(Warning, b.key, kindInconsistent, "the log at segment %d of timeline %d, in which it lies, has expired: it cannot be restored", b.Segment, b.Timeline)
		case s == nil:
			v.add(Damage, b.key, kindInconsistent, "it lies in segment %d of timeline %d, which is missing: it cannot be rolled forward", b.Segment, b.Timeline)
		case s.Source.File != b.Source.File || b.Source.Offset < s.Source.Start || b.Source.Offset > s.Source.End:
			v.add(Damage, b.key, kindInconsistent, "its position %s is not in segment %s (%s to %s)", b.Source, s.Name(), s.Source.StartPoint(), s.Source.EndPoint())
		case !b.from:
			v.add(Damage, b.key, kindInconsistent, "the log between its bounds, which it may lack, is missing before segment %s: it cannot be rolled forward", s.Name())
		case b.Source.Offset == s.Source.End && !b.holds(s.After):
			v.add(Damage, b.key, kindInconsistent, "its position is %q, and %q where it lies in the log", b.PositionMax.GTID, s.After.GTID)
		}
	}
}

// part reads a part of a base backup to its end.
func (v *verifier) part(p catalog.Part) error {
	err := v.cat.VerifyPart(v.ctx, p)
	v.read(p.Stored)
	if err != nil {
		return v.blame(p.Stored.Key, err)
	}
	return nil
}

// bytes reads an object as it is stored.
func (v *verifier) bytes(s catalog.Stored) error {
	err := v.cat.VerifyStored(v.ctx, s)
	v.read(s)
	if err != nil {
		return v.blame(s.Key, err)
	}
	return nil
}

// read counts a data object as read.
func (v *verifier) read(s catalog.Stored) {
	v.mu.Lock()
	v.report.ReadBytes += s.Size
	v.mu.Unlock()
	v.progress(1, s.Size)
}
