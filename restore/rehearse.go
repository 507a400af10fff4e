package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tidemark/internal/fault"
	"tidemark/internal/mysqld"
	"tidemark/internal/variables"
)

// Rehearse finds out whether Run would refuse the plan before it does anything: the programs and their versions, the options,
// and what lies in the target directory and the space. It changes nothing. What the server here lacks becomes a warning of the plan;
// so does, without a target directory, that the programs are missing. Its errors are those of Run.
func (p *Plan) Rehearse(ctx context.Context, o Options) error {
	r := &run{Options: o, plan: p, clock: o.Clock, report: newReport(p)}
	r.defaults()
	if err := r.checkOptions(); err != nil {
		return err
	}
	if err := r.check(ctx); err != nil {
		if o.TargetDir != "" || ctx.Err() != nil {
			return err
		}
		p.Warnings = append(p.Warnings, strings.TrimSpace(fmt.Sprintf("a restore here would be refused: %v. %s", err, fault.HintOf(err))))
		return nil
	}
	if err := p.warnOfPlugins(ctx, r.Tools, o.PluginDir); err != nil {
		return err
	}
	if o.TargetDir == "" {
		return nil
	}
	target, err := resolve(o.TargetDir)
	if err != nil {
		return err
	}
	w := &workspace{fsys: r.FS, target: target, dir: target + workSuffix}
	defer w.release()
	if _, err := os.Stat(w.dir); err == nil {
		if err := w.acquire(); err != nil {
			return err
		}
		if err := w.load(); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := w.vacant(); err != nil || w.left { // of what was left it is not known how much stays
		return err
	}
	r.work = w
	return r.checkDisk(r.space())
}

// space is what the target takes.
func (r *run) space() int64 { return r.plan.DiskBytes + mysqld.RedoLog(mysqld.Pool(r.Memory)) }

// checkOptions looks at the files that the options name.
func (r *run) checkOptions() error {
	if r.DefaultsExtraFile != "" {
		f, err := os.Open(r.DefaultsExtraFile)
		if err != nil {
			return fault.New(fault.Usage, "read the file of --defaults-extra-file", "", err)
		}
		defer f.Close()
	}
	if r.PluginDir != "" {
		if _, err := os.ReadDir(r.PluginDir); err != nil {
			return fault.New(fault.Usage, "read the directory of --plugin-dir", "", err)
		}
	}
	if _, err := os.ReadDir(os.TempDir()); err != nil {
		return fault.New(fault.Usage, "use the directory for temporary files", "", err).WithHint("Make the directory that TMPDIR names, or unset TMPDIR.")
	}
	if total := mysqld.TotalMemory(); total > 0 && r.Memory > total {
		return fault.New(fault.Usage, "restore with", fmt.Sprintf("--memory %d MiB", r.Memory>>20), fmt.Errorf("the machine has %d MiB", total>>20)).
			WithHint("Give less, or leave it out: half of what is free is used then.")
	}
	return nil
}

// neededPlugins are those of the backed up server that may matter to the log, each with its library.
func (p *Plan) neededPlugins() (list []plugin) {
	for recorded := range strings.SplitSeq(p.base.Variables["plugins"], ",") {
		name, library, _ := strings.Cut(recorded, "=")
		if name != "" && variables.PluginMatters(name) {
			list = append(list, plugin{name, library})
		}
	}
	return list
}

// plugin is one of the backed up server.
type plugin struct{ name, library string }

func (p plugin) String() string { return fmt.Sprintf("%s (%s)", p.name, p.library) }

// warnOfPlugins names those that the server here has no library of.
func (p *Plan) warnOfPlugins(ctx context.Context, tools mysqld.Tools, dir string) error {
	needed := p.neededPlugins()
	if len(needed) == 0 {
		return nil
	}
	if dir == "" {
		var err error
		if dir, err = mysqld.PluginDir(ctx, tools.Mysqld); err != nil {
			return err
		}
	}
	missing := slices.DeleteFunc(needed, func(pl plugin) bool {
		_, err := os.Stat(filepath.Join(dir, filepath.Base(pl.library)))
		return err == nil
	})
	if len(missing) > 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("the backed up server had plugins whose libraries are not in %s: %s; if the log needs one, install it, or name its directory by --plugin-dir",
			dir, joined(missing)))
	}
	return nil
}

func joined(list []plugin) string {
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = p.String()
	}
	return strings.Join(names, ", ")
}
