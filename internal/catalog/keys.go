package catalog

import (
	"fmt"
	"strconv"
	"strings"
)

// Keys are relative to the cluster and sort in the order of what they name.

func timelineKey(n uint32) string       { return fmt.Sprintf("timelines/%08d.json", n) }
func logPrefix(timeline uint32) string  { return fmt.Sprintf("log/%08d/", timeline) }
func headPrefix(timeline uint32) string { return logPrefix(timeline) + "heads/" }
func headKey(timeline uint32, s uint64) string {
	return fmt.Sprintf("%s%016d.json", headPrefix(timeline), s)
}
func indexPrefix(timeline uint32) string { return logPrefix(timeline) + "index/" }
func baseKey(id string) string           { return "base/" + id + "/manifest.json" }

func rangeName(first, last uint64) string { return fmt.Sprintf("%016d-%016d", first, last) }

func segmentKey(timeline uint32, first, last uint64) string {
	return logPrefix(timeline) + rangeName(first, last) + ".json"
}

func indexKey(timeline uint32, first, last uint64) string {
	return indexPrefix(timeline) + rangeName(first, last) + ".json.zst"
}

// SegmentDataKey is where the bytes of a segment go; the nonce makes it unique. The key of an encrypted
// object goes on with the suffix of its sealer.
func SegmentDataKey(timeline uint32, first, last uint64, nonce string) string {
	return logPrefix(timeline) + rangeName(first, last) + "." + nonce + ".binlog.zst"
}

// PartKey is where a part of a base backup goes, before the suffix of its sealer. engine is its stream's
// name, as "mbstream".
func PartKey(id string, number uint32, engine string) string {
	return fmt.Sprintf("base/%s/%05d.%s.zst", id, number, engine)
}

// parseRange reads "<first>-<last><suffix>".
func parseRange(name, suffix string) (first, last uint64, ok bool) {
	name, ok = strings.CutSuffix(name, suffix)
	if !ok || len(name) != 33 || name[16] != '-' {
		return 0, 0, false
	}
	first, err1 := strconv.ParseUint(name[:16], 10, 64)
	last, err2 := strconv.ParseUint(name[17:], 10, 64)
	return first, last, err1 == nil && err2 == nil && first > 0 && first <= last
}
