package archiver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/internal/binlog/binlogtest"
	"tidemark/internal/catalog"
	"tidemark/internal/gtid"
)

// imported is a primary that imports so many tables, and then writes rows.
func imported(tables int) *primary {
	p := new(primary)
	l := binlogtest.New(7, binlogtest.Options{Seed: 1, Time: 1700000000})
	seq := uint64(1)
	l.List()
	l.Checkpoint(name(0))
	for i := range tables {
		l.DDL(binlogtest.G(0, 7, seq), fmt.Sprintf("ALTER TABLE t%d IMPORT TABLESPACE", i))
		seq++
	}
	for range 20 {
		l.Rows(binlogtest.G(0, 7, seq), 3000)
		seq++
	}
	p.add(name(0), l)
	return p
}

// TestBarrierRemembered: what the archive names as a barrier is told again by an archiver that begins on it, whatever its spool
// knows of it.
func TestBarrierRemembered(t *testing.T) {
	for how, forget := range map[string]func(b *bench) error{
		"the same spool": func(*bench) error { return nil },
		"another spool":  func(b *bench) error { return os.RemoveAll(b.options.Dir) },
		// A crash came behind the manifest, and before the record of it.
		"no record": func(b *bench) error {
			s, err := readState(b.options.FS, b.options.Dir)
			if err != nil {
				return err
			}
			s.Barrier, s.Archived = nil, 0
			return s.save(b.options.FS, b.options.Dir)
		},
	} {
		b := newBench(t)
		b.options.MaxSize = 9000
		b.finish(imported(1))
		if err := forget(b); err != nil {
			t.Fatal(err)
		}
		a := b.mustOpen()
		if got := a.Stats().Barrier; got == nil || got.Kind != "import" || got.GTID != "0-7-1" || got.Segment != 1 {
			t.Errorf("%s: %+v", how, got)
		}
		if err := a.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		if m, err := filepath.Glob(b.options.Dir + "/superseded"); err != nil || len(m) > 0 {
			t.Errorf("%s: %v, %v", how, m, err)
		}
	}
}

// TestManyBarriers: of more than a segment names the last one is named, so that no base backup before it counts as one behind it.
func TestManyBarriers(t *testing.T) {
	b := newBench(t)
	const tables = catalog.MostBarriers + 50
	p := imported(tables)
	b.finish(p)
	list := b.check(p, nil)[0].Barriers
	last := gtid.GTID{Server: 7, Seq: tables}.String()
	if n := len(list); n != catalog.MostBarriers || list[0].GTID != "0-7-1" || list[n-1].GTID != last || !strings.Contains(list[n-1].What, "t149") {
		t.Errorf("%d, from %+v to %+v", n, list[0], list[n-1])
	}
	a := b.mustOpen()
	if got := a.Stats().Barrier; got == nil || got.GTID != last {
		t.Errorf("the archiver tells of %+v", got)
	}
	if err := a.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// TestNameless: the manifest of an encrypted segment does not tell what a barrier is about, and what the spool and the status
// have of it stays.
func TestNameless(t *testing.T) {
	list := []catalog.Barrier{{Kind: "import", Offset: 7, GTID: "0-1-2", What: "ALTER TABLE secret.t IMPORT TABLESPACE"}}
	plain := nameless(list)
	if len(plain) != 1 || strings.Contains(plain[0].What, "secret") || plain[0].Offset != 7 || plain[0].GTID != "0-1-2" || plain[0].Kind != "import" {
		t.Errorf("%+v", plain)
	}
	if list[0].What != "ALTER TABLE secret.t IMPORT TABLESPACE" {
		t.Errorf("what it was made of has changed: %+v", list)
	}
}
