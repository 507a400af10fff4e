package cli

import (
	"github.com/spf13/cobra"

	"tidemark/internal/config"
	"tidemark/internal/fault"
)

func (a *app) newConfig() *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Print the configuration in effect",
		Long: `Check the configuration and print every option's value in effect, and where it comes from:
a place in the file, an environment variable, a flag, or the default. Passwords are not shown.` + exits(fault.Config),
		Example: `  tidemark config
  tidemark config --config ./tidemark.yaml --json`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			return a.print(configResult{Settings: cfg.Settings()}, nil)
		},
	}
}

type configResult struct {
	Settings []config.Setting `json:"settings"`
}

func (r configResult) text(t *text) {
	var rows [][]string
	for _, s := range r.Settings {
		rows = append(rows, []string{s.Key, s.Value, s.Origin})
	}
	t.table([]string{"option", "value", "from"}, rows)
}
