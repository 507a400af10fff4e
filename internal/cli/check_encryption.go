package cli

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"tidemark/internal/fault"
)

// encryption says who can open what is archived from now on, and whether the identities of this
// machine, if there are any, can.
func (c *checker) encryption() {
	recipients := c.cfg.Encryption.Keys().Fingerprints()
	if len(recipients) == 0 {
		c.ok("encryption", "none: who can read the storage can read what is archived")
	} else {
		c.ok("encryption", "for %s; the spool in %s is plain: keep it on an encrypted disk", strings.Join(recipients, ", "), c.cfg.StateDir)
	}
	ids, err := c.cfg.Encryption.Identities("")
	if errors.Is(err, fs.ErrNotExist) { // as where the configuration is that of another machine
		c.warn("identity", "Put it there where restores are to run; else leave encryption.identity_file out.", "%v", err)
		return
	}
	if err != nil {
		c.fail("identity", err)
		return
	}
	if ids == nil {
		if len(recipients) > 0 {
			c.ok("identity", "none here: restores need one, archiving does not")
		}
		return
	}
	var opened []string
	for _, name := range recipients {
		if slices.Contains(ids.Fingerprints(), name) {
			opened = append(opened, name)
		}
	}
	if len(recipients) > 0 && len(opened) == 0 {
		c.fail("identity", fault.New(fault.WrongKey, "", ids.From(), errors.New("it has the identity of none of the recipients, but of "+strings.Join(ids.Fingerprints(), ", "))).
			WithHint("Add its recipient to encryption.recipients, or name the file of another identity: what is archived now cannot be restored with this one."))
		return
	}
	c.ok("identity", "%s opens %s", ids.From(), nonEmpty(strings.Join(opened, ", "), "what was encrypted for "+strings.Join(ids.Fingerprints(), ", ")))
}

func nonEmpty(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// sourceEncrypts says what becomes of a binlog that the server keeps encrypted.
func (c *checker) sourceEncrypts() {
	if c.cfg.Encryption.Keys() == nil {
		c.warn("encryption", "Name encryption.recipients, and keep state_dir on an encrypted disk.", "the server encrypts its binlog; the archive holds it in the clear")
		return
	}
	c.ok("encryption", "the server encrypts its binlog, and so does the archive")
}
