package daemon

import (
	"testing"
	"time"

	"tidemark/archiver"
	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/gtid"
	"tidemark/replica"
	"tidemark/storage/file"
)

// TestRequest: what is asked of a server. As one whose acknowledgements commits wait for only when all before is as safe as
// those promise, since the request acknowledges it.
func TestRequest(t *testing.T) {
	ctx := t.Context()
	store, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.Create(ctx, store, "shop", "test", gtid.MariaDB, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c := opened(t, store, cat)
	from, far := binlog.Point{File: "binlog.000002", Offset: 400}, binlog.Point{File: "binlog.000002", Offset: 1 << 32}
	next := binlog.Point{File: "binlog.000003", Offset: 4}
	reached := gtid.NewState([]gtid.GTID{{Server: 7, Seq: 9}})
	for what, k := range map[string]struct {
		server uint32
		from   binlog.Point
		on     course
		want   replica.Request // of it From, After and Expect
	}{
		"the server of before":               {7, from, course{}, replica.Request{From: from}},
		"a place that 32 bits do not hold":   {7, far, course{}, replica.Request{After: "0-7-8", Expect: far}},
		"another server":                     {8, from, course{}, replica.Request{After: "0-7-9"}},
		"one that has purged the file":       {7, from, course{byGTID: true}, replica.Request{After: "0-7-9"}},
		"one whose file is torn":             {7, from, course{next: next}, replica.Request{From: next}},
		"another one, where a file was torn": {8, from, course{next: next}, replica.Request{After: "0-7-9"}},
	} {
		for _, safe := range []bool{false, true} {
			resume := archiver.Resume{Safe: safe, From: k.from, After: "0-7-8", Reached: reached, ServerID: 7}
			r, err := c.request(ctx, replica.Options{}, &replica.Server{Flavor: gtid.MariaDB, ID: k.server}, &resume, k.on)
			if err != nil || r.From != k.want.From || r.After != k.want.After || r.Expect != k.want.Expect {
				t.Errorf("%s: asked for %+v, %v", what, r, err)
			}
			if r.SemiSync != safe {
				t.Errorf("%s: acknowledges what is before %v, and it is safe %v", what, r.SemiSync, safe)
			}
		}
	}
	if _, err := c.request(ctx, replica.Options{}, &replica.Server{Flavor: gtid.MySQL, ID: 7}, &archiver.Resume{}, course{}); err == nil {
		t.Error("a MySQL server was taken for one of MariaDB")
	}
}
