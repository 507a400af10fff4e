package config

import (
	"errors"

	"tidemark/internal/fault"
	"tidemark/internal/keys"
)

// Encryption says who can open what is archived from now on.
type Encryption struct {
	Recipients   []string `key:"recipients" doc:"public keys of age (age1…) of those who can open what is archived from now on, several if need be; none: it is not encrypted"`
	IdentityFile string   `key:"identity_file" doc:"file of the identities that open it, for restore, verify, cat and copy; needed only where these run, and never read by run and backup"`
}

// Keys are the recipients.
func (e Encryption) Keys() *keys.Recipients {
	r, _ := keys.ParseRecipients(e.Recipients) // checked when they were read
	return r
}

// Identities reads the identities in a file, or without one in IdentityFile; nil: there are none. The
// error is of kind Config, and of kind WrongKey when there is no identity in the file.
func (e Encryption) Identities(file string) (*keys.Identities, error) {
	if file == "" {
		file = e.IdentityFile
	}
	if file == "" {
		return nil, nil
	}
	const op = "read the identity file"
	if keys.IsSecret(file) {
		return nil, fault.New(fault.Usage, op, "", errors.New("an identity itself is given instead of its file, and others may have seen it")).
			WithHint("Write it to a file of mode 0600 and give its path; better, make a new one with `tidemark keygen`.")
	}
	data, err := ReadSecret(op, file)
	if err != nil {
		return nil, err
	}
	ids, err := keys.ParseIdentities(file, data)
	if err != nil {
		return nil, fault.New(fault.WrongKey, op, file, err).WithHint("`tidemark keygen` shows what such a file looks like.")
	}
	return ids, nil
}

func badRecipients(texts []string) string {
	if _, err := keys.ParseRecipients(texts); err != nil {
		return err.Error()
	}
	return ""
}

func badIdentityFile(path string) string {
	switch {
	case path == "":
		return ""
	case keys.IsSecret(path):
		return "it is an identity itself: write it to a file of mode 0600 and give the path of that"
	}
	return badPath(path)
}
