package main

import (
	"fmt"
	"strconv"

	"tidemark/integration/kit/servertest"
)

// truth is what a server holds: every table of every database of ours, and the GTID position.
type truth struct {
	tables map[string]sum
	rows   int
	gtid   string
}

type sum struct {
	rows     int
	checksum string
}

func record(p *servertest.Process) (truth, error) {
	t := truth{tables: map[string]sum{}}
	names, err := p.Query(`SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables
		WHERE table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema') AND table_type = 'BASE TABLE'`)
	if err != nil {
		return t, err
	}
	for _, n := range names {
		name := n[0]
		count, err := p.Value("SELECT COUNT(*) FROM " + name)
		if err != nil {
			return t, err
		}
		rows, err := strconv.Atoi(count)
		if err != nil {
			return t, err
		}
		check, err := p.Query("CHECKSUM TABLE " + name + " EXTENDED")
		if err != nil || len(check) != 1 {
			return t, fmt.Errorf("checksum of %s: %v, %w", name, check, err)
		}
		t.tables[name] = sum{rows: rows, checksum: check[0][1]}
		t.rows += rows
	}
	// On the primary this is the newest transaction logged, on a restored server the last one applied.
	t.gtid, err = p.Value("SELECT @@gtid_current_pos")
	return t, err
}
