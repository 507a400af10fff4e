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
	recorded := p.run.plan.base.Variables["plugins"]
	if recorded == "" {
		return nil
	}
	rows, err := p.conn.Query("SELECT plugin_name FROM information_schema.plugins WHERE plugin_status = 'ACTIVE'")
	if err != nil {
		return err
	}
	var missing []string
	for plugin := range strings.SplitSeq(recorded, ",") {
		name, library, _ := strings.Cut(plugin, "=")
		if !variables.PluginMatters(name) {
			continue
		}
		if !slices.ContainsFunc(rows, func(row []string) bool { return strings.EqualFold(row[0], name) }) {
			missing = append(missing, fmt.Sprintf("%s (%s)", name, library))
		}
	}
	if len(missing) > 0 {
		p.run.report.warn("the backed up server had plugins that are not loaded here: %s; if the log needs one, load it by plugin-load-add in the file of --defaults-extra-file, with --plugin-dir where it is elsewhere",
			strings.Join(missing, ", "))
	}
	return nil
}
