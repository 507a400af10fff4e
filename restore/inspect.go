package restore

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/internal/mysqld"
	"tidemark/internal/variables"
)

// zone warns of another system time zone than the backed up server's, where its base backup does not say how to have the same.
func (p *private) zone(info mysqld.Info) {
	recorded := p.run.plan.base.Variables
	if zone := recorded["system_time_zone"]; zone != "" && zone != info.TimeZone && recorded[variables.Offsets] == "" {
		p.run.report.warn("the backed up server's system time zone was %s, here it is %s: "+
			"statements (not row changes) of sessions without a time zone of their own were applied in the latter", zone, info.TimeZone)
	}
}

// arrived compares the server's position in the end with the planned one.
func (p *private) arrived(at *gtid.State) error {
	want := p.run.plan.position
	same := at.SamePosition(want)
	if p.run.plan.ofMariaDB() { // it may name domains still that the log has deleted, and others not that the base backup holds
		held := at.Clone()
		held.Advance(p.run.plan.start.Without(at))
		same = at.SamePosition(p.run.reached) && held.Covers(want)
	}
	if !same {
		return fault.New(fault.Integrity, "restore", p.run.work.target, fmt.Errorf("the server is at GTID position %s, not %s", orNone(at.String()), want))
	}
	return nil
}

// disabledBefore records the scheduled events that the log has not disabled.
func (p *private) disabledBefore(status string) error {
	if p.run.resumed() {
		return nil
	}
	names, err := p.disabledEvents(status)
	p.run.work.state.Disabled = slices.Sorted(maps.Keys(names))
	return err
}

// disabledEvents returns the scheduled events with the status that a replica gives them.
func (p *private) disabledEvents(status string) (map[string]bool, error) {
	rows, err := p.conn.Query("SELECT event_schema, event_name FROM information_schema.events WHERE status='" + status + "'")
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool, len(rows))
	for _, row := range rows {
		names[quote(row[0])+"."+quote(row[1])] = true
	}
	return names, nil
}

// events reports the scheduled events that the log has left disabled.
func (p *private) events(after map[string]bool) {
	report := p.run.report
	for name := range after {
		if !slices.Contains(p.run.work.state.Disabled, name) {
			report.EventsDisabled = append(report.EventsDisabled, name)
		}
	}
	slices.Sort(report.EventsDisabled)
	if n := len(report.EventsDisabled); n > 0 {
		report.warn("%d scheduled events were created or changed by the log and are disabled now", n)
	}
}

// prepared reports what XA RECOVER lists; the name of a transaction is in the fourth column.
func (p *private) prepared(rows [][]string) {
	report := p.run.report
	for _, row := range rows {
		report.PreparedXA = append(report.PreparedXA, row[3])
	}
	if n := len(rows); n > 0 {
		report.warn("%d XA transactions are prepared at the stop, neither committed nor rolled back", n)
	}
}

// temporaryTables returns how many the applier has open.
func (p *private) temporaryTables(status string) (int, error) {
	row, err := p.conn.Row("SHOW GLOBAL STATUS LIKE '" + status + "'")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(row["Value"])
}
