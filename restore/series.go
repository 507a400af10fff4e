package restore

import (
	"fmt"

	"tidemark/internal/mysqld"
)

// warnOfSeries says where the log goes over to a server of another series than the base backup's: that is what the server which
// applies it must be of, and it need not know all that a newer one has written.
func (p *Plan) warnOfSeries() {
	base, err := mysqld.ParseVersion(p.base.ServerVersion)
	if err != nil {
		return
	}
	for _, s := range p.segments {
		v, err := mysqld.ParseVersion(s.Source.Version)
		if err != nil || v.Flavor != base.Flavor || v.Series() == base.Series() {
			continue
		}
		p.Warnings = append(p.Warnings, fmt.Sprintf("the log behind GTID position %s was written by %s, and base backup %s is of %s, whose server applies it: it may stop there, or do something else; "+
			"a base backup that was taken after the upgrade has its own series", orNone(s.Before.GTID), v, p.base.ID, base))
		return
	}
}
