package restore

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

func (m *mariadb) wait(ctx context.Context, b *batch, progress func(uint64)) error {
	pause := time.Millisecond
	idle := 0
	var before *gtid.State
	for {
		at, err := m.position()
		if err != nil {
			return m.broken(err)
		}
		if at.SamePosition(b.position) {
			return nil
		}
		if before == nil || !at.SamePosition(before) {
			before, idle = at, 0
		}
		status, err := m.conn.Row("SHOW SLAVE STATUS")
		if err != nil {
			return m.broken(err)
		}
		if status["Slave_SQL_Running"] != "Yes" {
			return m.stopped(status)
		}
		progress(done(b, status["Relay_Log_File"], status["Relay_Log_Pos"]))
		if idle, err = m.idle(status, idle); err != nil {
			return m.broken(err)
		}
		if idle > 40 { // two seconds
			return fault.New(fault.Integrity, "apply the log", "", fmt.Errorf("the server has applied all it was given and is at GTID position %s, not %s",
				orNone(at.String()), b.position))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-m.run.clock.After(pause):
			pause = min(2*pause, 50*time.Millisecond)
		}
	}
}

// done returns how many transactions are applied at a place of the relay log.
func done(b *batch, file, pos string) (n uint64) {
	offset, err := strconv.ParseInt(pos, 10, 64)
	if err != nil {
		return 0
	}
	for _, f := range b.files {
		name := filepath.Base(f.path)
		if name > file {
			break
		}
		for _, k := range f.marks {
			if name < file || k.offset <= offset {
				n = k.transactions
			}
		}
	}
	return n
}

// idle counts how often in a row the server had nothing left to do: the applier waits for more, and
// so do its workers.
func (m *mariadb) idle(status map[string]string, before int) (int, error) {
	if !strings.Contains(status["Slave_SQL_Running_State"], "has read all relay log") {
		return 0, nil
	}
	busy, err := m.conn.Value("SELECT COUNT(*) FROM information_schema.processlist WHERE user='system user' AND command<>'Daemon' " +
		"AND NOT (COALESCE(state, '') LIKE 'Waiting for work%' OR state LIKE '%has read all relay log%')")
	if err != nil || busy != "0" {
		return 0, err
	}
	return before + 1, nil
}
