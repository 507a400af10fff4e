package restore

import (
	"fmt"
	"slices"
	"strings"

	"tidemark/internal/variables"
)

// warnOfServer names what the server that applies the log cannot have of the one that wrote it.
func (p *Plan) warnOfServer() {
	var said []variables.Difference
	tell := func(recorded map[string]string) {
		for _, d := range variables.Differences(p.base.Flavor, recorded) {
			if !slices.Contains(said, d) {
				said = append(said, d)
				p.Warnings = append(p.Warnings, fmt.Sprintf("the backed up server had %s=%s: %s", d.Name, d.Recorded, d.Why))
			}
		}
	}
	tell(p.base.Variables)
	for _, s := range p.segments {
		if s.Variables != nil {
			tell(p.variablesOf(s))
		}
	}
}

// plugins warns of plugins that the backed up server had and the one that applies the log has not, where statements that
// need them fail or do something else.
func (p *private) plugins() error {
	needed := p.run.plan.neededPlugins()
	if len(needed) == 0 {
		return nil
	}
	rows, err := p.conn.Query("SELECT plugin_name FROM information_schema.plugins WHERE plugin_status = 'ACTIVE'")
	if err != nil {
		return err
	}
	missing := slices.DeleteFunc(needed, func(pl plugin) bool {
		return slices.ContainsFunc(rows, func(row []string) bool { return strings.EqualFold(row[0], pl.name) })
	})
	if len(missing) > 0 {
		p.run.report.warn("the backed up server had plugins that are not loaded here: %s; if the log needs one, load it by plugin-load-add in the file of --defaults-extra-file, with --plugin-dir where it is elsewhere",
			joined(missing))
	}
	return nil
}
