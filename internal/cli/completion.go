package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func (a *app) newCompletion() *cobra.Command {
	shells := map[string]func(*cobra.Command, io.Writer) error{
		"bash":       func(c *cobra.Command, w io.Writer) error { return c.GenBashCompletionV2(w, true) },
		"zsh":        (*cobra.Command).GenZshCompletion,
		"fish":       func(c *cobra.Command, w io.Writer) error { return c.GenFishCompletion(w, true) },
		"powershell": (*cobra.Command).GenPowerShellCompletionWithDesc,
	}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print a completion script for a shell",
		Long:  "Print a script that completes commands and flags in a shell: bash, zsh, fish or powershell." + exits(),
		Example: `  tidemark completion bash > /etc/bash_completion.d/tidemark
  tidemark completion zsh > "${fpath[1]}/_tidemark"`,
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || shells[args[0]] == nil {
				return usage(fmt.Sprintf("%q: name one shell: bash, zsh, fish or powershell", args), cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return shells[args[0]](cmd.Root(), a.Stdout) },
	}
}
