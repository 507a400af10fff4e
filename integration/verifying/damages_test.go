package verifying

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	"tidemark/internal/catalog"
)

// damage is something that befalls an archive.
type damage struct {
	kind    string
	what    string
	changes map[string][]byte // by key; nil: it is gone
	named   []string          // what has to be named; nil: all of it
	quick   bool              // what is missing, of another size, or in another's place: it shows without reading data
	lost    bool              // the end, and all that says so: a restore cannot know
}

// kinds of damage, each made at random of what is in an archive. One that would change nothing is
// returned without changes.
var kinds = []struct {
	name string
	make func(*archive, *rand.Rand) damage
}{{"flip", flip}, {"truncate", truncate}, {"zero", zero}, {"swap", swap}, {"delete", remove}, {"delete the tail", removeTail},
	{"replay", replay}, {"reorder", reorder}}

func (a *archive) any(r *rand.Rand) string { return a.keys[r.IntN(len(a.keys))] }

func flip(a *archive, r *rand.Rand) damage {
	key := a.any(r)
	data := bytes.Clone(a.objects[key])
	data[r.IntN(len(data))] ^= 1 << r.IntN(8)
	return damage{what: "a flipped bit in " + key, changes: map[string][]byte{key: data}}
}

func truncate(a *archive, r *rand.Rand) damage {
	key := a.any(r)
	n := r.IntN(len(a.objects[key]))
	cut := append([]byte{}, a.objects[key][:n]...)
	return damage{what: fmt.Sprintf("%s cut to %d bytes", key, n), changes: map[string][]byte{key: cut}, quick: true}
}

func zero(a *archive, r *rand.Rand) damage {
	key := a.any(r)
	data := bytes.Clone(a.objects[key])
	from := r.IntN(len(data))
	to := from + 1 + r.IntN(len(data)-from)
	if bytes.Count(data[from:to], []byte{0}) == to-from {
		from, to = 0, len(data)
	}
	clear(data[from:to])
	return damage{what: fmt.Sprintf("zeroes from %d to %d in %s", from, to, key), changes: map[string][]byte{key: data}}
}

func swap(a *archive, r *rand.Rand) damage {
	k, l := a.any(r), a.any(r)
	x, y := a.objects[k], a.objects[l]
	if bytes.Equal(x, y) {
		return damage{}
	}
	return damage{what: k + " and " + l + " swapped", changes: map[string][]byte{k: y, l: x},
		quick: len(x) != len(y) || !isData(k) || !isData(l)}
}

func remove(a *archive, r *rand.Rand) damage {
	key := a.any(r)
	if strings.Contains(key, "/index/") {
		return damage{} // it says nothing that others do not
	}
	return damage{what: key + " deleted", changes: map[string][]byte{key: nil}, quick: true}
}

// removeTail removes the last segments, with their data or without, and with the heads that know of them
// or without.
func removeTail(a *archive, r *rand.Rand) damage {
	d := damage{changes: map[string][]byte{}, quick: true, lost: r.IntN(2) == 0}
	n := 1 + r.IntN(len(a.segments)/2)
	d.what = fmt.Sprintf("the last %d segments deleted", n)
	withData := r.IntN(2) == 0
	last := a.segments[len(a.segments)-n-1]
	for _, s := range a.segments[len(a.segments)-n:] {
		d.changes[catalog.SegmentKey(1, s.First, s.Last)] = nil
		if withData {
			d.changes[s.Stored.Key] = nil
		}
	}
	if withData {
		d.what += " with their data"
	}
	if d.lost {
		d.what += " and the heads"
		for key, h := range a.heads {
			if h.Segment > last.Last {
				d.changes[key] = nil
			}
		}
	}
	end := a.segments[len(a.segments)-1]
	d.named = []string{catalog.SegmentKey(1, end.First, end.Last)}
	return d
}

// replay puts what another history of the same archive has under a key: manifests, manifests with their
// data, heads, an index.
func replay(a *archive, r *rand.Rand) damage {
	var shared []string
	for _, key := range a.keys {
		if old, ok := a.older.objects[key]; ok && !bytes.Equal(old, a.objects[key]) && !a.agrees(key) {
			shared = append(shared, key)
		}
	}
	key := shared[r.IntN(len(shared))]
	d := damage{what: "an older " + key, changes: map[string][]byte{key: a.older.objects[key]}, named: []string{key}, quick: true}
	if s := a.older.segmentAt(key); s != nil && r.IntN(2) == 0 {
		d.what += " with its data"
		d.changes[s.Stored.Key] = a.older.objects[s.Stored.Key]
	}
	return d
}

// agrees reports whether the other history says the same as this one under a key: the same events.
func (a *archive) agrees(key string) bool {
	if h := a.older.heads[key]; h != nil {
		return slices.ContainsFunc(a.segments, func(s *catalog.Segment) bool { return s.Last == h.Segment && s.ChainAfter == h.Chain })
	}
	s, t := a.segmentAt(key), a.older.segmentAt(key)
	return s != nil && t != nil && s.BodySHA256 == t.BodySHA256 && s.ChainAfter == t.ChainAfter
}

// reorder gives several objects of one class each the next one's place.
func reorder(a *archive, r *rand.Rand) damage {
	class := []string{"manifests", "data", "parts", "heads"}[r.IntN(4)]
	var keys []string
	for _, key := range a.keys {
		if classOf(key) == class {
			keys = append(keys, key)
		}
	}
	if len(keys) < 3 {
		return damage{}
	}
	n := 3 + r.IntN(min(len(keys)-2, 4))
	at := r.IntN(len(keys) - n + 1)
	d := damage{what: fmt.Sprintf("%d %s from %s on, each in the next one's place", n, class, keys[at]),
		changes: map[string][]byte{}, quick: true}
	for i := range n {
		key, from := keys[at+i], keys[at+(i+1)%n]
		if bytes.Equal(a.objects[key], a.objects[from]) {
			continue
		}
		d.changes[key] = a.objects[from]
		d.quick = d.quick && (!isData(key) || len(a.objects[key]) != len(a.objects[from]))
	}
	return d
}

// classOf tells apart what there are several of.
func classOf(key string) string {
	switch {
	case strings.Contains(key, "/heads/"):
		return "heads"
	case strings.Contains(key, "/index/"), key == "cluster.json", strings.HasPrefix(key, "timelines/"):
		return ""
	case isData(key) && strings.HasPrefix(key, "base/"):
		return "parts"
	case isData(key):
		return "data"
	}
	return "manifests"
}

func isData(key string) bool {
	return !strings.HasSuffix(key, ".json") && !strings.Contains(key, "/index/")
}

// manifestOf is the key of the manifest that names data.
func manifestOf(key string) string {
	if strings.HasPrefix(key, "base/") {
		return path.Dir(key) + "/manifest.json"
	}
	span, _, _ := strings.Cut(path.Base(key), ".")
	return path.Dir(key) + "/" + span + ".json"
}

// shadowed reports whether nobody can tell that an object is damaged, for another one is that says what
// it should be.
func (d damage) shadowed(key string) bool {
	if _, ok := d.changes["cluster.json"]; ok && key != "cluster.json" {
		return true
	}
	_, blind := d.changes[manifestOf(key)]
	return isData(key) && blind
}
