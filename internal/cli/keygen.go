package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/internal/keys"
)

type keygenOptions struct {
	output      string
	postQuantum bool
}

func (a *app) newKeygen() *cobra.Command {
	var o keygenOptions
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Make a key pair for the encryption of an archive",
		Long: `Make a new identity, the secret key that opens an encrypted archive, and print its recipient, the
public key that goes into the configuration as one of encryption.recipients.

With --output the identity is written to a file that nobody else may read, and the recipient is
printed. A file that is there is never written over. Without it, as with age-keygen, the identity goes
to standard output, and the recipient to standard error.

Whoever has the identity can read the archive, and without it nobody can: keep it where the archive
and the servers are not, and a copy of it elsewhere. "tidemark run" never needs it. The file is one of
age: others that age-keygen makes will do as well.` + exits(fault.TargetNotEmpty),
		Example: `  tidemark keygen --output /root/shop.identity
  tidemark keygen | age -p > shop.identity.age`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			r, err := a.runKeygen(o)
			if r == nil {
				return err
			}
			return a.print(r, err)
		},
	}
	cmd.Flags().StringVar(&o.output, "output", "", "`file` to write the identity to; it must not exist")
	cmd.Flags().BoolVar(&o.postQuantum, "pq", false, "make a hybrid key pair that a quantum computer does not break; all recipients must be of this kind then")
	return cmd
}

// keygenResult never holds the identity.
type keygenResult struct {
	Recipient   string `json:"recipient"`
	Fingerprint string `json:"fingerprint"` // what manifests call the recipient
	File        string `json:"file"`
}

func (a *app) runKeygen(o keygenOptions) (*keygenResult, error) {
	if a.json && o.output == "" {
		return nil, usage("with --json the identity needs a file: --output FILE", "tidemark keygen")
	}
	identity, recipient, err := keys.Generate(o.postQuantum)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("# created: %s\n# public key: %s\n%s\n", a.Clock.Now().UTC().Format(time.RFC3339), recipient, identity)
	if o.output == "" {
		if !isTerminal(a.Stdout) {
			fmt.Fprintf(a.Stderr, "Public key: %s\n", recipient)
		}
		if _, err := fmt.Fprint(a.Stdout, text); err != nil {
			return nil, fault.New(fault.Other, "write the identity", "", err)
		}
		return nil, nil
	}
	err = durable.WriteFileExclusive(durable.OS{}, o.output, []byte(text))
	if errors.Is(err, fs.ErrExist) {
		return nil, fault.New(fault.TargetNotEmpty, "write the identity to", o.output, fs.ErrExist).
			WithHint("Name another file: an identity is never written over, as what it opens would be lost with it.")
	}
	if err != nil {
		return nil, fault.New(fault.Other, "write the identity to", o.output, err)
	}
	return &keygenResult{recipient, keys.Fingerprint(recipient), o.output}, nil
}

func (r *keygenResult) text(t *text) { t.line("Public key: %s", r.Recipient) }
