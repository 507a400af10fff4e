package kit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Config describes one cluster, "shop".
type Config struct {
	Dir      string // for archive, state and the files written here
	Archive  string // URL; a directory in Dir if "", or below the one that the environment names
	Storage  string // the section storage, as "{path_style: true}"; none if ""
	Primary  string // host:port, or several with commas between
	User     string
	Password string
	More     string // lines of the cluster's section, indented by four

	Recipient string // that the archive is encrypted for; "": nobody, or as the environment says
}

// Write writes the configuration and its password file, and returns the path of the first.
func (c Config) Write() (string, error) {
	pw := filepath.Join(c.Dir, "password")
	if err := os.WriteFile(pw, []byte(c.Password+"\n"), 0o600); err != nil {
		return "", err
	}
	encryption, err := c.elsewhere()
	if err != nil {
		return "", err
	}
	if c.Recipient != "" {
		encryption = "encryption: {recipients: [" + c.Recipient + "]}\n"
	}
	if c.Archive == "" {
		c.Archive = "file://" + c.Dir + "/archive"
	}
	if c.Storage == "" {
		c.Storage = "{}"
	}
	yaml := fmt.Sprintf(`archive: %[6]s
storage: %[7]s
%[8]sstate_dir: %[1]s/state
status: {listen: "127.0.0.1:0"}
clusters:
  shop:
    hosts: [%[2]s]
    user: %[3]s
    password_file: %[4]s
%[5]s`, c.Dir, `"`+strings.ReplaceAll(c.Primary, ",", `", "`)+`"`, c.User, pw, c.More, c.Archive, c.Storage, encryption)
	path := filepath.Join(c.Dir, "tidemark.yaml")
	return path, os.WriteFile(path, []byte(yaml), 0o600)
}
