package cli

import (
	"github.com/spf13/cobra"

	"tidemark/internal/catalog"
	"tidemark/internal/config"
)

// identityFlag lets a command that reads data be given the identities that open it.
func identityFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "identity", "", "`file` of the identities that open an encrypted archive (default encryption.identity_file)")
}

// unlock gives archives the identities of a file, or of the configuration; there may be none.
func unlock(cfg *config.Config, file string, cats ...*catalog.Catalog) error {
	ids, err := cfg.Encryption.Identities(file)
	if err != nil {
		return err
	}
	for _, c := range cats {
		c.Unlock(ids)
	}
	return nil
}
