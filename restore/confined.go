package restore

import (
	"os"
	"slices"

	"go.uber.org/zap"

	"tidemark/internal/confine"
	"tidemark/internal/fault"
	"tidemark/internal/mysqld"
)

// The private server and the tools are confined to the target, and to what they need beside it, by the kernel where it can. Options that
// keep them inside are elsewhere; here is what holds when one of those is missing.

// checkConfined looks at what else they may use, and says when they are not confined.
func (r *run) checkConfined() error {
	for _, path := range r.AllowPaths {
		if _, err := os.Stat(path); err != nil {
			return fault.New(fault.Usage, "allow", path, err).WithHint("Name files and directories that there are with --allow-path.")
		}
	}
	if err := confine.Available(); err != nil {
		r.Log.Warn("the private server and its tools are not confined to the target", zap.Error(err))
	}
	return nil
}

// allowed is what the user lets the server and the tools use. A key management that is configured may be a service.
func (r *run) allowed() confine.Rules {
	return confine.Rules{Read: r.AllowPaths, Write: r.AllowPaths, Network: r.DefaultsExtraFile != ""}
}

// reach is what a tool may touch.
func (r *run) reach(tool string) confine.Rules {
	rules := r.allowed()
	rules.Read = slices.Concat(rules.Read, mysqld.ProgramFiles(tool, r.Tools.Mysqld), mysqld.OptionFiles(r.DefaultsExtraFile))
	if r.PluginDir != "" {
		rules.Read = append(rules.Read, r.PluginDir)
	}
	rules.Write = append([]string{r.work.target, r.work.tmpDir()}, rules.Write...)
	return rules
}
