package restore

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// tell lets the feed know what a server that was just started has and has not, before that has applied any of the log.
func (s *session) tell(r *run) error {
	if err := s.tellXA(); err != nil {
		return err
	}
	lost, err := s.applier.rowless()
	if err != nil {
		return s.applier.broken(err)
	}
	st := &r.work.state
	for _, t := range lost {
		if ref := (tableRef{t.db, t.name}); !slices.Contains(st.Applied.Emptied, ref) {
			st.Applied.Emptied = append(st.Applied.Emptied, ref)
		}
	}
	s.feed.emptied.told <- lost
	return nil
}

// tellXA lets the feed know which XA transactions a server has prepared.
func (s *session) tellXA() error {
	xids, err := s.applier.unfinished()
	if err != nil {
		return s.applier.broken(err)
	}
	s.feed.xids.known <- xids
	return nil
}

// rowless: those of MEMORY; from the base backup too those that it is known to hold empty.
func (p *private) rowless() ([]subject, error) {
	held := p.run.plan.base.EmptyTables
	if p.run.resumed() { // of those the state tells
		held = nil
	}
	list, err := p.memoryTables(held)
	return list, err
}

// memoryTables lists the tables of the engine MEMORY, and those of other engines than InnoDB that are among some, each as
// "database.table".
func (p *private) memoryTables(among []string) (list []subject, err error) {
	rows, err := p.conn.Query("SELECT table_schema, table_name, engine FROM information_schema.tables" +
		" WHERE engine <> 'InnoDB' AND table_type NOT LIKE '%VIEW'" +
		" AND table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema') ORDER BY 1, 2")
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if strings.EqualFold(row[2], "MEMORY") || slices.Contains(among, row[0]+"."+row[1]) {
			list = append(list, subject{db: row[0], name: row[1]})
		}
	}
	return list, nil
}

// incomplete reports the tables that lack rows when the restore has ended: what runs on the result has to fill them.
func (p *private) incomplete() error {
	memory, err := p.memoryTables(nil)
	if err != nil {
		return err
	}
	report := p.run.report
	for _, t := range memory {
		report.EmptyTables = append(report.EmptyTables, t.String())
	}
	if n := len(memory); n > 0 {
		report.warn("%s of the engine MEMORY, whose rows no server keeps over a restart: %s", are(n), some(report.EmptyTables))
	}
	var lack []string
	for _, t := range p.run.work.state.Applied.Emptied {
		if name := t.String(); !slices.Contains(report.EmptyTables, name) {
			lack = append(lack, name)
		}
	}
	if n := len(lack); n > 0 {
		report.EmptyTables = append(report.EmptyTables, lack...)
		report.warn("%d tables lack rows that they had as tables of MEMORY, or that the base backup does not hold, and what the log changed since: %s", n, some(lack))
	}
	return nil
}

func are(n int) string {
	if n == 1 {
		return "1 table is empty that is"
	}
	return fmt.Sprintf("%d tables are empty that are", n)
}

// some names things, of many the first.
func some(list []string) string {
	const most = 20
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

// foldsNames reports whether the server takes names of tables for the same that differ in capitals only.
func (p *Plan) foldsNames() bool {
	mode := p.base.Variables["lower_case_table_names"]
	return mode != "" && mode != "0"
}

// warnOfEmpty names the tables that the base backup is known to hold empty.
func (p *Plan) warnOfEmpty() {
	if list := p.base.EmptyTables; len(list) > 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("base backup %s holds no rows of %d tables, and changes of their rows in the log are passed over: %s",
			p.base.ID, len(list), some(list)))
	}
	if list := p.base.UncopiedFiles; len(list) > 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("base backup %s lacks files that lay in the databases' directories, as no tool copies them: %s; a table that is made of one is not restored",
			p.base.ID, some(inQuotes(list))))
	}
}

// inQuotes writes names of files that may hold anything.
func inQuotes(list []string) []string {
	quoted := make([]string, len(list))
	for i, name := range list {
		quoted[i] = strconv.Quote(name)
	}
	return quoted
}
