package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Build puts the program into a directory. It is kept in the checkout's .tools, where go build leaves it
// alone while it is up to date: to link it takes longer than many a test.
func Build(dir string) (string, error) { return build(dir, "tidemark") }

// BuildFailpoints is Build of a program with failpoints, which none is made with otherwise.
func BuildFailpoints(dir string) (string, error) {
	return build(dir, "tidemark-failpoints", "-tags", "failpoints")
}

func build(dir, name string, options ...string) (string, error) {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	tools := filepath.Join(strings.TrimSpace(string(root)), ".tools")
	if err := os.MkdirAll(tools, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(tools, "tidemark.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close() // and with it the lock: tests of several packages run at once
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	kept := filepath.Join(tools, name)
	args := append([]string{"build", "-o", kept}, options...)
	if out, err := exec.Command("go", append(args, "tidemark/cmd/tidemark")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build tidemark: %w\n%s", err, out)
	}
	tool := filepath.Join(dir, name)
	if os.Link(kept, tool) == nil {
		return tool, nil
	}
	return tool, exec.Command("cp", kept, tool).Run() // to another file system
}

// Config describes one cluster, "shop".
type Config struct {
	Dir      string // for archive, state and the files written here
	Archive  string // URL; a directory in Dir if "", or below the one that the environment names
	Storage  string // the section storage, as "{path_style: true}"; none if ""
	Primary  string // host:port, or several with commas between
	User     string
	Password string
	More     string // lines of the cluster's section, indented by four
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
