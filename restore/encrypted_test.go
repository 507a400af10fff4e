package restore

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

// TestEncryptedPlan: a plan is refused before anything is fetched when a part of it cannot be opened;
// and a base backup inside an encrypted segment, whose position nobody could look up when it was taken,
// lies where the log says.
func TestEncryptedPlan(t *testing.T) {
	ctx := context.Background()
	pair := func() (*keys.Identities, *keys.Recipients) {
		identity, recipient, err := keys.Generate(false)
		if err != nil {
			t.Fatal(err)
		}
		ids, err := keys.ParseIdentities("file", []byte(identity))
		if err != nil {
			t.Fatal(err)
		}
		r, err := keys.ParseRecipients([]string{recipient})
		if err != nil {
			t.Fatal(err)
		}
		return ids, r
	}
	ids, recipients := pair()
	others, _ := pair()
	now := time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)
	a := archivetest.InDir(t)
	a.Recipients = recipients
	log := archivetest.NewLog(1, now)
	log.List(now)
	var middle uint64
	for n := uint64(1); n <= 6; n++ {
		log.Change(gtid.GTID{Server: 1 + uint32(n%2), Seq: n}, now.Add(time.Duration(n)*time.Minute), "d", "t")
		if n == 4 {
			middle = log.Offset()
		}
	}
	a.Append("binlog.000001", log.Bytes(), archivetest.Cut{})
	a.AddBase(catalog.Base{ID: "b1", Consistent: now.Add(270 * time.Second)}, binlog.Point{File: "binlog.000001", Offset: middle}, "0-2-3",
		strings.NewReader("base"), 10)
	a.Head(now.Add(time.Hour))
	for _, one := range []*keys.Identities{nil, others} {
		a.Catalog.Unlock(one)
		if _, err := MakePlan(ctx, a.Catalog, PlanOptions{}); !fault.Is(err, fault.WrongKey) {
			t.Errorf("%v: %v", one, err)
		}
	}
	a.Catalog.Unlock(ids)
	p, err := MakePlan(ctx, a.Catalog, PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if p.Transactions != 2 || p.start.String() != "0-1-4" && p.start.String() != "0-1-5" || p.Position() != "0-1-6" {
		t.Errorf("%d transactions from %s to %s", p.Transactions, p.start, p.Position())
	}
}
