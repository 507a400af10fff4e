package verify

import (
	"maps"
	"slices"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
)

// inventory is what the listing showed.
type inventory struct {
	logs  map[uint32]*log
	data  map[string]*object // of segments and parts, by key
	bases map[string]bool    // by ID; true where there is a manifest
	marks []catalog.Listed   // records of what has expired, and what base backups are kept for
}

// log is what one timeline consists of.
type log struct {
	described bool // there is a timeline object
	manifests []catalog.Span
	heads     []uint64
	indexes   []catalog.Span
}

// object is a stored object that a manifest should name.
type object struct {
	listed catalog.Listed
	user   string // key of the manifest that names it
}

func (i *inventory) log(timeline uint32) *log {
	l := i.logs[timeline]
	if l == nil {
		l = new(log)
		i.logs[timeline] = l
	}
	return l
}

// timelines returns the numbers of all timelines, in order.
func (i *inventory) timelines() []uint32 { return slices.Sorted(maps.Keys(i.logs)) }

// list makes the inventory with one listing of everything.
func (v *verifier) list() error {
	v.found = inventory{logs: make(map[uint32]*log), data: make(map[string]*object), bases: make(map[string]bool)}
	for l, err := range v.cat.Objects(v.ctx, "") {
		if err != nil {
			return err
		}
		v.report.Objects++
		v.report.StoredBytes += l.Size
		v.enter(l)
	}
	if err := v.readExpiry(); err != nil {
		return err
	}
	for n, l := range v.found.logs {
		if !l.described {
			v.add(Damage, catalog.TimelineKey(n), kindMissing, "the timeline has segments but no description")
		}
	}
	return nil
}

func (v *verifier) enter(l catalog.Listed) {
	if l.Timeline != 0 && v.o.Timeline != 0 && l.Timeline != v.o.Timeline {
		return
	}
	reads := int64(1)
	switch l.Class {
	case catalog.ClassTimeline:
		v.found.log(l.Timeline).described = true
	case catalog.ClassSegment:
		log := v.found.log(l.Timeline)
		log.manifests = append(log.manifests, catalog.Span{First: l.First, Last: l.Last})
	case catalog.ClassHead:
		log := v.found.log(l.Timeline)
		log.heads = append(log.heads, l.First)
	case catalog.ClassIndex:
		log := v.found.log(l.Timeline)
		log.indexes = append(log.indexes, catalog.Span{First: l.First, Last: l.Last})
	case catalog.ClassBase:
		v.found.bases[l.Base] = true
	case catalog.ClassPart:
		if _, ok := v.found.bases[l.Base]; !ok {
			v.found.bases[l.Base] = false // until its manifest shows
		}
		v.found.data[l.Key] = &object{listed: l}
		reads = v.countData(l)
	case catalog.ClassData:
		v.found.data[l.Key] = &object{listed: l}
		reads = v.countData(l)
	case catalog.ClassUnknown:
		v.add(Warning, l.Key, kindUnknown, "nothing of ours has such a name")
		reads = 0
	case catalog.ClassExpiry, catalog.ClassKeep:
		v.found.marks = append(v.found.marks, l)
	default:
		reads = 0
	}
	v.done.AllObjects += reads
}

func (v *verifier) countData(l catalog.Listed) int64 {
	if !v.o.Data && !v.o.Stored || !v.o.Subset.holds(l.Key) {
		return 0
	}
	v.done.AllBytes += l.Size
	return 1
}

// stored checks presence and size of an object that a manifest names.
func (v *verifier) stored(manifest string, s catalog.Stored) (ok bool, err error) {
	o := v.found.data[s.Key]
	if o != nil {
		if o.user != "" && o.user != manifest {
			v.add(Damage, s.Key, kindInconsistent, "both %s and %s name it", o.user, manifest)
			return false, nil
		}
		o.user = manifest
		if o.listed.Size == s.Size {
			return true, nil
		}
	}
	// The listing may be older than the manifest: ask again.
	err = v.cat.CheckStored(v.ctx, s)
	if !fault.Is(err, fault.Integrity) {
		return err == nil, err
	}
	kind := kindDamaged
	if o == nil {
		kind = kindMissing
	}
	if gone, err := v.goneMeanwhile(s.Key); gone || err != nil {
		return false, err
	}
	v.add(Damage, s.Key, kind, "%s; %s names it", cause(err), manifest)
	return false, nil
}

// orphanAge is how old data without a manifest must be before it cannot be an upload under way.
const orphanAge = 24 * time.Hour

// leftovers names the data that no manifest names. Data of a number beyond the end of the chain may
// be all that is left of a segment, so after a day it is worth a look.
func (v *verifier) leftovers() error {
	now := v.o.Clock.Now()
	for _, key := range slices.Sorted(maps.Keys(v.found.data)) {
		o := v.found.data[key]
		if o.user != "" {
			continue
		}
		l := o.listed
		old := now.Sub(l.Modified) > orphanAge
		switch {
		case l.Class == catalog.ClassData && v.unread[catalog.SegmentKey(l.Timeline, l.First, l.Last)]:
			// its manifest is blamed already
		case l.Class == catalog.ClassPart && !v.found.bases[l.Base]:
			if err := v.withoutManifest(l, oldWarning(old)); err != nil {
				return err
			}
		case l.Class == catalog.ClassData && !v.covered(l.Timeline, l.First):
			v.add(oldWarning(old), key, kindOrphan, "no manifest names it: an upload that was not finished, or segment %d has lost its manifest", l.First)
		default:
			v.add(Note, key, kindOrphan, "no manifest names it: an upload that was tried again")
		}
	}
	return nil
}

// withoutManifest names what a part belongs to that has no manifest: a base backup that is being stored or was
// not finished, or else one that has lost it.
func (v *verifier) withoutManifest(part catalog.Listed, unfinished Severity) error {
	err := v.cat.LostManifest(v.ctx, part.Base, part.Key)
	if err == nil {
		v.add(unfinished, part.Key, kindOrphan, "base/%s/manifest.json does not exist: the base backup was not finished", part.Base)
		return nil
	}
	if !fault.Is(err, fault.Integrity) {
		return err
	}
	if gone, err := v.goneMeanwhile(part.Key); gone || err != nil {
		return err
	}
	v.claim(part.Base)
	v.add(Damage, "base/"+part.Base+"/manifest.json", kindMissing, "%s", cause(err))
	return nil
}

func oldWarning(old bool) Severity {
	if old {
		return Warning
	}
	return Note
}

// leftOut reports whether a timeline begins behind the number, as part of one that was copied may, or one
// whose beginning has expired.
func (v *verifier) leftOut(timeline uint32, number uint64) bool {
	t, err := v.cat.TimelineAt(v.ctx, timeline)
	return err == nil && number <= max(t.Skipped, v.expiry.Log(timeline).Through)
}

// covered reports whether any manifest of a timeline covers the number.
func (v *verifier) covered(timeline uint32, number uint64) bool {
	return slices.ContainsFunc(v.found.log(timeline).manifests, func(s catalog.Span) bool { return s.First <= number && number <= s.Last })
}
