package cli

import (
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"tidemark/internal/catalog"
)

func (a *app) newVersion() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Long:    "Print the version of the program, the archive format it reads and writes, and the kinds of storage it has." + exits(),
		Example: `  tidemark version --json`,
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			r := versionResult{Version: a.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Format: catalog.FormatVersion}
			for _, d := range a.Drivers {
				r.Storage = append(r.Storage, d.Scheme)
			}
			return a.print(r, nil)
		},
	}
}

type versionResult struct {
	Version  string   `json:"version"`
	Go       string   `json:"go"`
	Platform string   `json:"platform"`
	Format   int      `json:"archive_format"`
	Storage  []string `json:"storage"`
}

func (r versionResult) text(t *text) {
	t.line("tidemark %s", r.Version)
	t.line("archive format %d, storage %s, %s, %s", r.Format, strings.Join(r.Storage, " "), r.Go, r.Platform)
}
