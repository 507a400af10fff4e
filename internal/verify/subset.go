package verify

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
)

// Subset is one of several parts of the data of an archive, as large as each other by and large. An object
// is always in the same one of so many parts, so who reads all parts in turn reads every byte once.
type Subset struct {
	Part, Of int // Part is from 1 to Of; the zero Subset is everything
}

// ParseSubset reads a part, "3/20". The error says what is wrong with it.
func ParseSubset(text string) (Subset, error) {
	part, of, _ := strings.Cut(text, "/")
	n, err1 := strconv.Atoi(part)
	m, err2 := strconv.Atoi(of)
	if err1 != nil || err2 != nil || n < 1 || n > m {
		return Subset{}, fmt.Errorf("%q is not a part: write it as 3/20, the third of twenty", text)
	}
	return Subset{n, m}, nil
}

// String writes the part as ParseSubset reads it; "" for everything.
func (s Subset) String() string {
	if s.Of == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", s.Part, s.Of)
}

// holds reports whether an object is in the part. Keys of data end in a fresh UUID or are of one part of a
// base backup, so their hashes are spread evenly.
func (s Subset) holds(key string) bool {
	if s.Of == 0 {
		return true
	}
	h := fnv.New64a()
	h.Write([]byte(key))
	return int(h.Sum64()%uint64(s.Of)) == s.Part-1
}
