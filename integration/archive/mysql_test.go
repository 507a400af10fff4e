package archive

import (
	"bytes"
	"path/filepath"

	"tidemark/integration/kit"
	"tidemark/internal/gtid"
)

// compareSets finds in the archive the MySQL server's own set of GTIDs, before and after each segment the
// set that its own mysqlbinlog reads there.
func compareSets(w *kit.World) {
	t, cat := w.T, catalogOf(w)
	t.Helper()
	last, err := cat.Last(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	have, err := gtid.ParseSet(w.Server.Position())
	if err != nil || have.String() != last.After.GTID {
		t.Errorf("the server has %s, the archive %s, %v", have, last.After.GTID, err)
	}
	for s, err := range cat.Segments(t.Context(), 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(w.Dir, "archive", "shop", s.Stored.Key)
		out, err := kit.ReadSegment(w.Server.Binaries, name)
		if err != nil || bytes.Contains(out, []byte("Warning")) {
			t.Errorf("segment %s: %v\n%s", s.Name(), err, out[max(0, len(out)-500):])
			continue
		}
		// What the head lists, as that tool shows it: a line each server, indented.
		_, rest, found := bytes.Cut(out, []byte("Previous-GTIDs\n"))
		if !found {
			t.Errorf("segment %s has no list of GTIDs in its head", s.Name())
			continue
		}
		var listed []byte
		for line := range bytes.Lines(rest) {
			text, more := bytes.CutPrefix(line, []byte("# "))
			if !more || bytes.Contains(text, []byte("[empty]")) {
				break
			}
			if bytes.Contains(text, []byte(" server id ")) || bytes.HasPrefix(text, []byte("at ")) {
				break
			}
			listed = append(listed, bytes.TrimSpace(text)...)
		}
		set, err := gtid.ParseSet(string(listed))
		if err != nil || s.HeadBytes > 4 && set.String() != s.Before.GTID {
			t.Errorf("segment %s: its head lists %s, %v; its manifest says %s", s.Name(), set, err, s.Before.GTID)
		}
	}
}
