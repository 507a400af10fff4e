package clone

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tidemark/internal/fault"
)

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestNames refuses names that lead out of the data directory, or to where only we write.
func TestNames(t *testing.T) {
	for _, name := range []string{"/etc/passwd", "../x", "./../x", "d/../../x", "./d/../x", "", ".", "./", "d//x", "d/", "d/x\x00y", `d\x`,
		"#tidemark/data-1", "#clone/#view_status", "././x", "#tidemark", "./#clone/x", "./.tidemark-restore", ".d/x"} {
		items := slices.Insert(whole(), 4, item{desc: meta(stateFiles, 9, name, 6, 0)})
		dir, err := extract(t, stream(t, items))
		if !fault.Is(err, fault.Integrity) {
			t.Errorf("%q: %v", name, err)
		}
		if left, _ := os.ReadDir(filepath.Dir(dir)); len(left) > 1 {
			t.Errorf("%q: wrote %v", name, left)
		}
	}
}

// TestImpossible refuses copies that no donor makes.
func TestImpossible(t *testing.T) {
	items := whole()
	find := func(d []byte) int {
		return slices.IndexFunc(items, func(i item) bool { return string(i.desc) == string(d) })
	}
	insert := func(at int, i ...item) []item { return slices.Insert(slices.Clone(items), at, i...) }
	short := text(stateFiles, 0, 0, "short", 8)
	short.data = short.data[:3]
	long := text(stateFiles, 0, 0, "long", 8)
	long.data = append(long.data, 'x')
	other := desc(descTask, 24)
	other[3]++
	files, pages := find(state(stateFiles, false)), find(state(statePages, false))
	for want, c := range map[string][]item{
		"for file 77, which was not described": insert(files, text(stateFiles, 77, 0, "x", 1)),
		"8 bytes at 1 do not fit into ibdata1": insert(files, text(stateFiles, 0, 1, "01234567", 8)),
		"do not fit into ibdata1 of 8 bytes":   insert(files, text(stateFiles, 0, 1<<62, "0", 8)),
		"4 bytes at 281474976710657 do not":    insert(pages, text(statePages, 0, maxFile+1, "PAGE", 8)),
		"2 bytes of ibdata1 are missing":       insert(files, short),
		"5 bytes have come where 4 belong":     insert(files, long),
		"1 bytes have come where 0 belong":     insert(files, item{state(stateFiles, false), []byte("x")}),
		"state 2 of the copy comes after":      insert(files+1, item{desc: state(stateFiles, true)}),
		"state 4 of the copy comes after":      insert(files+1, item{desc: state(stateRedo, false)}),
		"ends in state 4":                      items[:len(items)-1],
		"is encrypted, which cannot be copied": insert(files, item{desc: meta(stateFiles, 8, "./d/e.ibd", 6, fileEncrypted)}),
		"two files have the name d/a.ibd":      insert(files, item{desc: meta(stateFiles, 8, "./d/a.ibd", 6, 0)}),
		"it has no files":                      {{desc: state(stateDone, true)}},
		"of unknown type 9":                    insert(files, item{desc: desc(9, 20)}),
		"is of version 101":                    insert(files, item{desc: other}),
		"has 5 bytes":                          insert(files, item{desc: []byte("short")}),
		"the descriptor of a state has 20":     insert(files, item{desc: desc(descState, 20)}),
		"the descriptor of a file has 61":      insert(files, item{desc: desc(descFile, 61)}),
		"the descriptor of data has 40":        insert(files, item{desc: desc(descData, 40)}),
		"says that it has 24 bytes and has 23": insert(files, item{desc: desc(descTask, 24)[:23]}),
	} {
		_, err := extract(t, stream(t, c))
		if !fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, not %q", err, want)
		}
	}
}

// TestFirstPage makes pages of all sizes.
func TestFirstPage(t *testing.T) {
	for flags, size := range map[uint32]int{0x4021: 16 << 10, 3 << 6: 4 << 10, 4 << 6: 8 << 10, 6 << 6: 32 << 10, 7 << 6: 64 << 10, 0x4021 | 1<<1: 1 << 10, 0x4021 | 4<<1: 8 << 10} {
		if p, err := firstPage(7, flags); err != nil || len(p) != size || p[pageSpace+3] != 7 || p[0]|p[1]|p[2]|p[3] == 0 {
			t.Errorf("flags %#x: %d bytes, %v", flags, len(p), err)
		}
	}
	if p, err := firstPage(7, 15<<6); err == nil {
		t.Errorf("a page of %d bytes", len(p))
	}
}
