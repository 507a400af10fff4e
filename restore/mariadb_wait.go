package restore

import (
	"context"
	"path/filepath"
	"strconv"
	"strings"

	"tidemark/internal/gtid"
)

func (m *mariadb) wait(ctx context.Context, b *batch, progress func(uint64)) error {
	return m.await(ctx, b, progress, waiting{
		position: m.position, reached: func(at *gtid.State) bool { return at.SamePosition(b.position) },
		show: "SHOW SLAVE STATUS", running: "Slave_SQL_Running", idle: m.idle, held: m.letGo, failed: m.stopped,
	})
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
