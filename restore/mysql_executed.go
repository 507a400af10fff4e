package restore

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"tidemark/internal/gtid"
)

// complete tells the server which transactions its clone holds without knowing it. A statement that finds nothing
// to do, as DROP FUNCTION IF EXISTS, is a transaction of the log and none of InnoDB: only the binlog and the
// memory of the source knew that it was executed. Executed again, behind transactions that came after it, it
// would find something to do. InnoDB commits in the order of the binlog, so what comes in the log before a
// transaction that the clone holds was executed before it.
func (m *mysql) complete(ctx context.Context) error {
	b := m.run.plan.base
	if b.Engine != engineClone || m.run.resumed() {
		return nil
	}
	at, err := m.position()
	if err != nil {
		return err
	}
	missing, err := m.passedOver(ctx, at.Set())
	if err != nil || missing.Empty() {
		return err
	}
	if b.Variables["binlog_order_commits"] == "OFF" {
		m.run.report.Warnings = append(m.run.report.Warnings, fmt.Sprintf("base backup %s holds transactions behind %s, and does not name these: they are applied, as with binlog_order_commits=OFF it may lack them",
			b.ID, missing))
		return nil
	}
	m.run.Log.Info("the clone holds transactions that changed nothing in InnoDB, and does not name them", zap.Stringer("gtids", missing))
	return m.conn.Exec(fmt.Sprintf("SET GLOBAL gtid_purged='+%s'", missing))
}

// passedOver returns the transactions of the log that are not in a set, but come before one that is.
func (m *mysql) passedOver(ctx context.Context, held *gtid.Set) (*gtid.Set, error) {
	p := m.run.plan
	missing, open := new(gtid.Set), new(gtid.Set)
	for i, s := range p.segments {
		if s.Timeline != p.base.Timeline || s.First > p.base.Segment {
			break // behind what the clone can hold
		}
		for tx, err := range transactions(ctx, m.run.c, s, nil) {
			if err != nil {
				return nil, err
			}
			if i == 0 && tx.start < p.from {
				continue
			}
			if !held.Contains(tx.gtid) {
				open.Add(tx.gtid)
				continue
			}
			missing.Union(open)
			open = new(gtid.Set)
		}
	}
	return missing, nil
}
