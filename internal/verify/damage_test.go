package verify

import (
	"bytes"
	"os"
	"slices"
	"testing"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/restore/archivetest"
)

// damage is a change to an archive that a check must find.
type damage struct {
	name  string
	do    func(*testing.T, *archivetest.Archive) (object string)
	quick bool // it shows without reading data
	kind  string
}

// lostAndSpoilt are objects of the log that are gone, or not what was stored.
var lostAndSpoilt = []damage{
	{"manifest missing", func(t *testing.T, a *archivetest.Archive) string {
		remove(t, a, manifest(a.Segments[2]))
		return manifest(a.Segments[2])
	}, true, kindMissing},
	{"first manifest missing", func(t *testing.T, a *archivetest.Archive) string {
		remove(t, a, manifest(a.Segments[0]))
		return manifest(a.Segments[0])
	}, true, kindMissing},
	{"two manifests missing", func(t *testing.T, a *archivetest.Archive) string {
		remove(t, a, manifest(a.Segments[2]))
		remove(t, a, manifest(a.Segments[3]))
		return manifest(a.Segments[2])
	}, true, kindMissing},
	{"data missing", func(t *testing.T, a *archivetest.Archive) string {
		remove(t, a, a.Segments[2].Stored.Key)
		return a.Segments[2].Stored.Key
	}, true, kindMissing},
	{"manifests swapped", func(t *testing.T, a *archivetest.Archive) string {
		swap(t, a, manifest(a.Segments[1]), manifest(a.Segments[2]))
		return manifest(a.Segments[2])
	}, true, kindDamaged},
	{"data swapped", func(t *testing.T, a *archivetest.Archive) string {
		swap(t, a, a.Segments[1].Stored.Key, a.Segments[2].Stored.Key)
		return a.Segments[1].Stored.Key
	}, true, kindDamaged}, // they differ in size
	{"data truncated", func(t *testing.T, a *archivetest.Archive) string {
		key := a.Segments[3].Stored.Key
		write(t, a, key, content(t, a, key)[:20])
		return key
	}, true, kindDamaged},
	{"data longer", func(t *testing.T, a *archivetest.Archive) string {
		key := a.Segments[3].Stored.Key
		write(t, a, key, append(content(t, a, key), 0))
		return key
	}, true, kindDamaged},
	{"a bit flipped", func(t *testing.T, a *archivetest.Archive) string {
		key := a.Segments[3].Stored.Key
		data := content(t, a, key)
		data[len(data)/2] ^= 4
		write(t, a, key, data)
		return key
	}, false, kindDamaged},
	{"data zeroed", func(t *testing.T, a *archivetest.Archive) string {
		key := a.Segments[3].Stored.Key
		write(t, a, key, make([]byte, len(content(t, a, key))))
		return key
	}, false, kindDamaged},
	{"manifest truncated", func(t *testing.T, a *archivetest.Archive) string {
		key := manifest(a.Segments[2])
		write(t, a, key, content(t, a, key)[:100])
		return key
	}, true, kindDamaged},
	{"manifest empty", func(t *testing.T, a *archivetest.Archive) string {
		write(t, a, manifest(a.Segments[2]), nil)
		return manifest(a.Segments[2])
	}, true, kindDamaged},
	{"manifest of another cluster", func(t *testing.T, a *archivetest.Archive) string {
		other, _ := sample(t)
		key := manifest(a.Segments[2])
		write(t, a, key, content(t, other, key))
		return key
	}, true, kindDamaged},
	{"manifest of a later version", func(t *testing.T, a *archivetest.Archive) string {
		key := manifest(a.Segments[2])
		write(t, a, key, bytes.Replace(content(t, a, key), []byte("1"), []byte("2"), 1))
		return key
	}, true, kindDamaged},
	{"end cut off", func(t *testing.T, a *archivetest.Archive) string {
		s := a.Segments[len(a.Segments)-1]
		remove(t, a, manifest(s))
		remove(t, a, s.Stored.Key)
		return catalog.HeadKey(1, 2)
	}, true, kindInconsistent},
	{"end replaced", func(t *testing.T, a *archivetest.Archive) string {
		s := *a.Segments[len(a.Segments)-1]
		s.BodySHA256 = catalog.Digest{1}
		s.Members = []catalog.Member{s.Members[0]}
		s.Members[0].BodySHA256 = s.BodySHA256
		s.ChainAfter = catalog.NextDigest(s.ChainBefore, s.BodySHA256)
		put(t, a, &s)
		return catalog.HeadKey(1, 2)
	}, true, kindInconsistent},
}

// contradictions are manifests that read well and say something else.
var contradictions = []damage{
	{"position before it changed", func(t *testing.T, a *archivetest.Archive) string {
		s := *a.Segments[3]
		s.Before.GTID = "0-1-99"
		put(t, a, &s)
		return manifest(&s)
	}, true, kindInconsistent},
	{"chain broken", func(t *testing.T, a *archivetest.Archive) string {
		s := *a.Segments[3]
		s.ChainBefore = catalog.Digest{1}
		s.ChainAfter = catalog.NextDigest(s.ChainBefore, s.BodySHA256)
		put(t, a, &s)
		return manifest(&s)
	}, true, kindInconsistent},
	{"transactions miscounted", func(t *testing.T, a *archivetest.Archive) string {
		s := *a.Segments[3]
		s.Transactions++
		put(t, a, &s)
		return manifest(&s)
	}, false, kindInconsistent},
	{"commit time changed", func(t *testing.T, a *archivetest.Archive) string {
		s := *a.Segments[3]
		s.Commit.Max = s.Commit.Max.Add(time.Second)
		put(t, a, &s)
		return manifest(&s)
	}, false, kindInconsistent},
	{"tail changed", func(t *testing.T, a *archivetest.Archive) string {
		s := *a.Segments[3]
		s.Tail.SHA256[0] ^= 1
		put(t, a, &s)
		return manifest(&s)
	}, false, kindInconsistent},
	{"position after it changed", func(t *testing.T, a *archivetest.Archive) string {
		s := *a.Segments[len(a.Segments)-1]
		s.After.GTID = "0-1-99"
		put(t, a, &s)
		return manifest(&s)
	}, false, kindInconsistent},
	{"binlog state after it changed", func(t *testing.T, a *archivetest.Archive) string {
		s := *a.Segments[len(a.Segments)-1]
		s.After.State = slices.Clone(s.After.State)
		s.After.State[0] = "0-1-99"
		put(t, a, &s)
		return manifest(&s)
	}, false, kindInconsistent},
	{"server IDs changed", func(t *testing.T, a *archivetest.Archive) string {
		s := *a.Segments[3]
		s.ServerIDs = []uint32{1, 2, 3}
		put(t, a, &s)
		return manifest(&s)
	}, false, kindInconsistent},
}

// elsewhere is damage of timelines, heads and base backups.
var elsewhere = []damage{
	{"two manifests name one object", func(t *testing.T, a *archivetest.Archive) string {
		s := *a.Segments[3]
		s.Stored = a.Segments[2].Stored
		put(t, a, &s)
		return s.Stored.Key
	}, true, kindInconsistent},
	{"timeline missing", func(t *testing.T, a *archivetest.Archive) string {
		remove(t, a, catalog.TimelineKey(1))
		return catalog.TimelineKey(1)
	}, true, kindMissing},
	{"timeline damaged", func(t *testing.T, a *archivetest.Archive) string {
		write(t, a, catalog.TimelineKey(1), []byte("{}"))
		return catalog.TimelineKey(1)
	}, true, kindDamaged},
	{"timeline of another seed", func(t *testing.T, a *archivetest.Archive) string {
		other, _ := sample(t)
		data := bytes.ReplaceAll(content(t, other, catalog.TimelineKey(1)), []byte(other.Catalog.Cluster.UUID), []byte(a.Catalog.Cluster.UUID))
		write(t, a, catalog.TimelineKey(1), signed(data))
		return manifest(a.Segments[0])
	}, true, kindInconsistent},
	{"stale head", func(t *testing.T, a *archivetest.Archive) string {
		write(t, a, catalog.HeadKey(1, 2), content(t, a, catalog.HeadKey(1, 1)))
		return catalog.HeadKey(1, 2)
	}, true, kindDamaged},
	{"head missing", func(t *testing.T, a *archivetest.Archive) string {
		a.Head(begun.Add(48 * time.Hour))
		remove(t, a, catalog.HeadKey(1, 2))
		return catalog.HeadKey(1, 2)
	}, true, kindMissing},
	{"part missing", func(t *testing.T, a *archivetest.Archive) string {
		remove(t, a, catalog.PartKey("b1", 2, "mbstream"))
		return catalog.PartKey("b1", 2, "mbstream")
	}, true, kindMissing},
	{"part flipped", func(t *testing.T, a *archivetest.Archive) string {
		key := catalog.PartKey("b1", 1, "mbstream")
		data := content(t, a, key)
		data[len(data)-1] ^= 1
		write(t, a, key, data)
		return key
	}, false, kindDamaged},
	{"parts swapped", func(t *testing.T, a *archivetest.Archive) string {
		swap(t, a, catalog.PartKey("b1", 1, "mbstream"), catalog.PartKey("b1", 2, "mbstream"))
		return catalog.PartKey("b1", 1, "mbstream")
	}, false, kindDamaged},
	{"base manifest damaged", func(t *testing.T, a *archivetest.Archive) string {
		write(t, a, "base/b1/manifest.json", []byte("nothing"))
		return "base/b1/manifest.json"
	}, true, kindDamaged},
	{"base moved", func(t *testing.T, a *archivetest.Archive) string {
		data := content(t, a, "base/b1/manifest.json")
		write(t, a, "base/b1/manifest.json", signed(bytes.Replace(data, []byte("binlog.000001"), []byte("binlog.000002"), 1)))
		return "base/b1/manifest.json"
	}, true, kindInconsistent},
	{"base renamed", func(t *testing.T, a *archivetest.Archive) string {
		must(t, os.Rename(path(a, "base/b1"), path(a, "base/b2")))
		return "base/b2/manifest.json"
	}, true, kindDamaged},
	{"base without its segment", func(t *testing.T, a *archivetest.Archive) string {
		remove(t, a, manifest(a.Segments[1]))
		return "base/b1/manifest.json"
	}, true, kindInconsistent},
}

// Each change to the archive is found and the object named.
func TestDamage(t *testing.T) {
	for _, test := range slices.Concat(lostAndSpoilt, contradictions, elsewhere) {
		t.Run(test.name, func(t *testing.T) {
			a, _ := sample(t)
			object := test.do(t, a)
			for _, data := range []bool{false, true} {
				r, err := check(t, a, data)
				if !data && !test.quick {
					if err != nil {
						t.Errorf("quick: %v, %+v", err, r)
					}
					continue
				}
				if !fault.Is(err, fault.Integrity) || r == nil {
					t.Fatalf("data %v: %v, %+v", data, err, r)
				}
				if test.kind == kindDamaged && slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Kind == kindOrphan }) {
					t.Errorf("data %v: what a damaged manifest names is called an orphan: %+v", data, r.Findings)
				}
				if !slices.ContainsFunc(r.Findings, func(f Finding) bool {
					return f.Severity == Damage && f.Object == object && f.Kind == test.kind
				}) {
					t.Errorf("data %v: %s of %s is not among %+v", data, test.kind, object, r.Findings)
				}
			}
		})
	}
}
