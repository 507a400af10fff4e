package basebackup

import (
	"context"
	"strings"
	"testing"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/internal/keys"
	"tidemark/restore/archivetest"
)

// TestNotCovered discards backups whose position the log does not hold, or contradicts.
func TestNotCovered(t *testing.T) {
	foreign := format(t, archivetest.NewLog(1, begun.Add(time.Second)).Bytes())
	for name, c := range map[string]struct {
		change func(*Info)
		want   string
	}{
		"beyond":            {func(i *Info) { i.Source.Offset += 1000 }, "does not reach binlog.000001:"},
		"next file":         {func(i *Info) { i.Source.File = "binlog.000002" }, "does not reach binlog.000002:"},
		"other server":      {func(i *Info) { i.ServerID = 2 }, "does not reach"},
		"inside":            {func(i *Info) { i.Source.Offset -= 10 }, "no place between two transactions"},
		"in a transaction":  {func(i *Info) { i.Source.Offset -= 27 }, "no place between two transactions"},
		"other GTID":        {func(i *Info) { i.GTID = "0-1-3" }, "the last transaction there is 0-1-2 in the archived log, and 0-1-3 on the server"},
		"no GTID":           {func(i *Info) { i.GTID = "" }, "the archived log has 0-1-2 there, and the server has nothing in domain 0"},
		"file of that name": {func(i *Info) { i.File = foreign }, "is not the server's file of that name"},
		"no position":       {func(i *Info) { i.GTID = "x" }, "not a GTID"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLogged(t, 2)
			info := l.at(2)
			c.change(&info)
			_, err := Take(context.Background(), l.options(&engine{data: []byte("x"), info: info}))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "discarded") {
				t.Fatalf("error: %v", err)
			}
			if strings.Contains(c.want, "reach") && (!fault.Is(err, fault.Unreachable) || !strings.Contains(fault.HintOf(err), "tidemark run")) {
				t.Errorf("kind %s, hint %q", fault.KindOf(err), fault.HintOf(err))
			}
			none(t, l)
		})
	}
	t.Run("empty log", func(t *testing.T) {
		l := &logged{Archive: archivetest.InDir(t), ends: []uint64{500}}
		_, err := Take(context.Background(), l.options(&engine{data: []byte("x"), info: l.at(1)}))
		if err == nil || !strings.Contains(err.Error(), "there is none yet") {
			t.Errorf("error: %v", err)
		}
		none(t, l)
	})
}

// TestEncryptedLog: inside an encrypted segment the server's own word counts, but for domains of which
// the segment holds nothing; at its end the manifest says all.
func TestEncryptedLog(t *testing.T) {
	identity, recipient, err := keys.Generate(false)
	if err != nil || identity == "" {
		t.Fatal(err)
	}
	r, err := keys.ParseRecipients([]string{recipient})
	if err != nil {
		t.Fatal(err)
	}
	a := archivetest.InDir(t)
	a.Recipients = r
	log := archivetest.NewLog(1, begun)
	log.List(begun)
	l := &logged{Archive: a}
	for n := uint64(1); n <= 6; n++ {
		domain := uint32(0)
		if n == 1 {
			domain = 5
		}
		log.Change(gtid.GTID{Domain: domain, Server: 1, Seq: n}, begun.Add(time.Second), "d", "t")
		l.ends = append(l.ends, log.Offset())
	}
	a.Append("binlog.000001", log.Bytes(), archivetest.Cut{At: l.ends[:2]})
	for _, c := range []struct {
		transaction    int
		server         string
		position, want string // or an error
	}{
		{4, "5-1-1,0-1-4", "0-1-4,5-1-1", ""},
		{4, "5-1-1,0-1-4,9-9-9", "0-1-4,5-1-1,9-9-9", ""},
		{4, "5-1-2,0-1-4", "", "the last transaction there is 5-1-1 in the archived log"},
		{4, "0-1-4", "", "the server has nothing in domain 5"},
		{6, "5-1-1,0-1-6", "0-1-6,5-1-1", ""},
		{6, "5-1-1,0-1-5", "", "the last transaction there is 0-1-6 in the archived log"},
	} {
		info := Info{Flavor: gtid.MariaDB, ServerID: 1, Source: binlog.Point{File: "binlog.000001", Offset: l.ends[c.transaction-1]},
			File: format(t, log.Bytes()), GTID: c.server, Consistent: begun}
		o := l.options(&engine{data: []byte("plain words"), info: info})
		o.Recipients = r
		b, err := Take(context.Background(), o)
		switch {
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v", c.server, err)
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.server, err)
		case c.want == "" && (b.PositionMax.GTID != c.position || (len(b.PositionMax.State) > 0) != (c.transaction == 6) ||
			!strings.HasSuffix(b.Parts[0].Stored.Key, ".mbstream.zst.age") || b.Parts[0].Stored.Recipients[0] != keys.Fingerprint(recipient)):
			t.Errorf("%s: %+v", c.server, b)
		}
	}
}

// TestBounds settles a copy of a MySQL server, which says between which positions it is, in a segment with the
// transactions 4 to 8 of a server, of which the copy had the first three.
func TestBounds(t *testing.T) {
	const uuid, other = "8d1c2b2e-0000-0000-0000-000000000001", "8d1c2b2e-0000-0000-0000-000000000002"
	segment := &catalog.Segment{Source: catalog.Source{ServerID: 1, ServerUUID: uuid, File: "binlog.000001"},
		Before: catalog.Position{GTID: uuid + ":1-3"}, After: catalog.Position{GTID: uuid + ":1-8"}}
	set, err := gtid.ParseSet(uuid + ":1-6")
	if err != nil {
		t.Fatal(err)
	}
	at := gtid.NewSetState(set)
	for name, c := range map[string]struct {
		state               *gtid.State
		server, least, most string
		want                string
	}{
		"as it is":            {at, uuid, uuid + ":1-2", uuid + ":1-6", ""},
		"with others":         {at, uuid, "", other + ":1-9," + uuid + ":1-6", ""},
		"encrypted":           {nil, uuid, uuid + ":1-3", uuid + ":1-5", ""},
		"another server":      {at, other, "", uuid + ":1-6", "is of server " + uuid},
		"reset before":        {at, uuid, "", uuid + ":1-2", "has " + uuid + ":3-6 there, and the server has not"},
		"reset and written":   {at, uuid, "", uuid + ":1-7", "of " + uuid + ":7-8, it has " + uuid + ":1-7"},
		"reset and encrypted": {nil, uuid, "", uuid + ":1-2", "has " + uuid + ":3 there"},
		"reset meanwhile":     {at, uuid, uuid + ":1-9", uuid + ":1-6", "before the copy"},
		"no position":         {at, uuid, "", "x", "read the backup's position"},
	} {
		tk := &taking{base: &catalog.Base{}}
		err := tk.settle(&catalog.Place{Segment: segment, Number: 7, State: c.state},
			Info{Flavor: gtid.MySQL, ServerID: 1, ServerUUID: c.server, GTIDMin: c.least, GTID: c.most})
		switch {
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v", name, err)
		case c.want == "" && (err != nil || tk.base.Segment != 7 || tk.base.PositionMin.GTID != c.least || tk.base.PositionMax.GTID != c.most):
			t.Errorf("%s: %+v, %v", name, *tk.base, err)
		}
	}
}

// TestCoveredLater archives the position while the backup waits for it.
func TestCoveredLater(t *testing.T) {
	l := newLogged(t, 2)
	info := l.at(2)
	next := archivetest.NewLog(1, begun.Add(time.Minute))
	next.List(begun, gtid.GTID{Server: 1, Seq: 2})
	info.Source = binlog.Point{File: "binlog.000002", Offset: next.Offset()}
	info.File = format(t, next.Bytes())
	next.Change(gtid.GTID{Server: 1, Seq: 3}, begun, "d", "t")
	o := l.options(&engine{data: []byte("x"), info: info})
	o.WaitCovered = time.Minute
	waited := false
	o.Progress = func(p Progress) {
		if p.Phase == Wait && !waited {
			waited = true
			if !strings.Contains(p.Waiting, "ends at binlog.000001:") {
				t.Errorf("waiting for %q", p.Waiting)
			}
			l.Append("binlog.000002", next.Bytes(), archivetest.Cut{})
		}
	}
	b, err := Take(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !waited || b.Segment != l.Segments[len(l.Segments)-1].Last || b.PositionMax.GTID != "0-1-2" {
		t.Errorf("waited %v, segment %d, position %s", waited, b.Segment, b.PositionMax.GTID)
	}
}

// TestAgree compares positions as servers report them with what is in the log.
func TestAgree(t *testing.T) {
	for _, c := range []struct {
		log, server string
		ok          bool
	}{
		{"", "", true},
		{"0-1-5", "0-1-5", true},
		{"0-1-5", "0-1-6", false},
		{"0-1-5", "0-1-4", false},
		{"0-1-5", "", false},
		{"0-1-5,1-1-7", "0-1-5", false},
		{"0-1-5,1-1-7", "1-1-7,0-1-5", true},
		{"0-2-4,0-1-5", "0-1-5", true},             // promoted, and wrote
		{"0-2-4", "0-2-4", true},                   // promoted, and wrote nothing yet
		{"0-2-4", "", true},                        // was given another server_id
		{"", "0-2-4", true},                        // restored: the position is not from its binlog
		{"0-1-5", "0-1-5,7-9-9", true},             // replicated a domain without logging it
		{"0-1-5", "0-2-9", true},                   // replicated into its own domain without logging it
		{"0-2-4,0-1-5", "0-2-3", false},            // replicated and logged, and another one
		{"0-1-5,1-1-7,1-2-8", "0-1-5,1-2-8", true}, // the newest of domain 1 is foreign
	} {
		list, err := gtid.ParseList(c.log)
		if err != nil {
			t.Fatal(err)
		}
		pos, err := gtid.ParsePosition(c.server)
		if err != nil {
			t.Fatal(err)
		}
		if err := agree(gtid.NewState(list), pos, 1); (err == nil) != c.ok {
			t.Errorf("log %q, server %q: %v", c.log, c.server, err)
		}
	}
}
