package restore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"tidemark/internal/catalog"
	"tidemark/internal/variables"
)

// The settings of a server can change while its log goes on. A base backup records them, and so does a segment from which
// on they were others. Each part of the log is applied under its own.

// errAnew: the private server is to be started anew, as what has changed is not set in one that runs.
var errAnew = errors.New("the server is started anew with the settings that the log was written under from here on")

// variablesOf returns the variables under which a segment of the plan was written, as far as they were looked at: those of the
// base backup, or of the last segment behind it that records others.
func (p *Plan) variablesOf(s *catalog.Segment) map[string]string {
	found := p.base.Variables
	behind := false
	for _, t := range p.segments {
		if behind && t.Variables != nil {
			found = variables.Later(p.base.Variables, t.Variables)
		}
		if t.Timeline == p.base.Timeline && t.First <= p.base.Segment && p.base.Segment <= t.Last {
			behind = true
		}
		if t == s {
			break
		}
	}
	return found
}

// settings are the variables that the private server is started with.
func (r *run) settings() map[string]string {
	if r.variables != nil {
		return r.variables
	}
	if segments, err := r.plan.after(r.work.state.Applied); err == nil {
		return r.plan.variablesOf(segments[0])
	}
	return r.plan.base.Variables
}

// underOthers begins a new batch where the log goes on under other settings.
func (f *feed) underOthers(ctx context.Context, s *catalog.Segment) error {
	now := f.plan.variablesOf(s)
	if maps.Equal(now, f.variables) {
		return nil
	}
	end := f.endFile
	if f.fragile.first != "" {
		end = f.endFragile
	}
	if err := end(ctx); err != nil {
		return err
	}
	if err := f.send(ctx); err != nil {
		return err
	}
	f.variables, f.now.variables = now, now
	return nil
}

// adopt gives the server the settings under which a batch was written, or returns errAnew. All batches before are applied.
func (r *run) adopt(m applier, b *batch) error {
	if b.variables == nil || maps.Equal(b.variables, r.settings()) {
		return nil
	}
	changed, live, err := r.changes(b.variables)
	if err != nil {
		return err
	}
	if len(changed) > 0 {
		r.Log.Info("the log goes on under other settings", zap.Strings("settings", names(changed)), zap.Stringer("from", b.position))
		err = errAnew
		if live {
			err = m.set(changed)
		}
	}
	if errors.Is(err, errAnew) {
		open, serr := m.settle(true)
		switch {
		case serr != nil:
			return m.broken(serr)
		case open > 0: // they would be gone
			r.report.warn("the server had other settings from %s on (%s), and %d temporary tables were open there: what followed was applied under the settings of before",
				b.position, strings.Join(names(changed), ", "), open)
			err = nil
		default:
			err = errors.Join(err, r.work.save())
		}
	}
	if err == nil || errors.Is(err, errAnew) {
		r.variables = b.variables
	}
	return err
}

// changes are the options that differ between the private server's settings and others, and whether they may be set in a server
// that runs.
func (r *run) changes(to map[string]string) (changed []variables.Option, live bool, err error) {
	before, err := variables.Options(r.plan.base.Flavor, r.settings())
	if err != nil {
		return nil, false, err
	}
	after, err := variables.Options(r.plan.base.Flavor, to)
	if err != nil {
		return nil, false, err
	}
	live = r.DefaultsExtraFile == "" // that goes over what is recorded, which only a start respects
	for _, o := range after {
		if !slices.Contains(before, o) {
			changed = append(changed, o)
		}
	}
	for _, o := range before {
		if !slices.ContainsFunc(after, func(a variables.Option) bool { return a.Name == o.Name }) {
			changed, live = append(changed, variables.Option{Name: o.Name, Variable: o.Variable}), false
		}
	}
	if zone := to[variables.Offsets]; zone != r.settings()[variables.Offsets] {
		changed, live = append(changed, variables.Option{Name: variables.Offsets, Value: zone}), false
	}
	return changed, live, nil
}

func names(options []variables.Option) []string {
	list := make([]string, len(options))
	for i, o := range options {
		list[i] = o.Name + "=" + o.Value
	}
	return list
}

// set sets options in a server whose SQL thread stands. It returns errAnew where one of them cannot be.
func (p *private) set(options []variables.Option) error {
	for _, o := range options {
		value := o.Value
		if _, err := strconv.ParseFloat(value, 64); err != nil {
			value = "'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(value) + "'"
		}
		if err := p.conn.Exec(fmt.Sprintf("SET GLOBAL %s = %s", o.Variable, value)); err != nil {
			p.run.Log.Info("a setting cannot be changed in a server that runs", zap.String("setting", o.Variable), zap.Error(err))
			return errAnew
		}
		if o.Variable == "sql_mode" {
			p.mode, p.inside = nil, false
		}
	}
	return nil
}

func (m *mariadb) set(options []variables.Option) error {
	if m.started {
		if err := m.conn.Exec("STOP SLAVE SQL_THREAD"); err != nil {
			return m.broken(err)
		}
	}
	if err := m.conn.Exec("SET GLOBAL slave_parallel_threads=0"); err != nil { // workers keep the settings that they began with
		return m.broken(err)
	}
	return m.private.set(options)
}

func (m *mysql) set(options []variables.Option) error {
	if m.started {
		if err := m.conn.Exec("STOP REPLICA SQL_THREAD"); err != nil {
			return m.broken(err)
		}
	}
	return m.private.set(options)
}
