package catalog

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestClassify(t *testing.T) {
	for key, want := range map[string]Listed{
		"cluster.json":                                  {Class: ClassCluster},
		"timelines/00000003.json":                       {Class: ClassTimeline, Timeline: 3},
		"timelines/3.json":                              {},
		"timelines/00000003.json/x":                     {},
		segmentKey(2, 7, 9):                             {Class: ClassSegment, Timeline: 2, First: 7, Last: 9},
		SegmentDataKey(2, 7, 9, "n"):                    {Class: ClassData, Timeline: 2, First: 7, Last: 9},
		SegmentDataKey(2, 9, 7, "n"):                    {Timeline: 2},
		headKey(2, 5):                                   {Class: ClassHead, Timeline: 2, First: 5, Last: 5},
		indexKey(2, 1, 1000):                            {Class: ClassIndex, Timeline: 2, First: 1, Last: 1000},
		"log/00000002/heads/x":                          {Timeline: 2},
		"log/00000002/what":                             {Timeline: 2},
		"log/2/what":                                    {},
		"log/00000002/" + rangeName(1, 1) + ".n/x.json": {Timeline: 2},
		baseKey("b1"):                                   {Class: ClassBase, Base: "b1"},
		PartKey("b1", 12, "mbstream"):                   {Class: ClassPart, Base: "b1"},
		"base/b1/notes":                                 {Base: "b1"},
		"base/b1":                                       {Base: "b1"},
		"lease/0000000000000001.json":                   {Class: ClassLease, First: 1, Last: 1},
		"lease/1.json":                                  {Class: ClassUnknown},
		ProbePrefix + "x":                               {Class: ClassProbe},
		"lost+found":                                    {},
	} {
		want.Key = key
		if got := classify(key); got != want {
			t.Errorf("%s: %+v, want %+v", key, got, want)
		}
	}
}

// Cover chains what can be chained, calls a hole what nothing covers, and loses no manifest.
func TestCover(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		var manifests []Span
		for range rng.IntN(8) {
			first := 1 + rng.Uint64N(12)
			if s := (Span{first, first + rng.Uint64N(4)}); !slices.Contains(manifests, s) {
				manifests = append(manifests, s)
			}
		}
		chain, others, holes := Cover(1, manifests)
		if len(chain)+len(others) != len(manifests) {
			t.Fatalf("seed %d: %v gives chain %v and others %v", seed, manifests, chain, others)
		}
		covered := func(list []Span, n uint64) bool {
			return slices.ContainsFunc(list, func(s Span) bool { return s.First <= n && n <= s.Last })
		}
		var end uint64
		for _, s := range manifests {
			end = max(end, s.Last)
		}
		for n := uint64(1); n <= end; n++ {
			if covered(manifests, n) != covered(chain, n) || covered(manifests, n) == covered(holes, n) {
				t.Fatalf("seed %d: %v gives chain %v and holes %v: wrong at %d", seed, manifests, chain, holes, n)
			}
		}
		for i := 1; i < len(chain); i++ {
			if chain[i].First <= chain[i-1].First || chain[i].Last <= chain[i-1].Last {
				t.Fatalf("seed %d: chain %v is not in order", seed, chain)
			}
		}
	}
}

// The widest manifest wins, as it does where segments are read.
func TestCoverPrefersTheWidest(t *testing.T) {
	chain, others, holes := Cover(1, []Span{{3, 3}, {1, 1}, {2, 4}, {2, 2}, {4, 4}, {7, 7}})
	if !slices.Equal(chain, []Span{{1, 1}, {2, 4}, {7, 7}}) || !slices.Equal(holes, []Span{{5, 6}}) || len(others) != 3 {
		t.Errorf("%v %v %v", chain, others, holes)
	}
}
