package kit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"tidemark/integration/kit/servertest"
)

// Tool is the tidemark program, as it runs beside servers of one version, whose programs it finds in PATH.
type Tool struct {
	Path string
	Env  []string // NAME=value, after that of this process
}

// ToolFor is the program as it is for a version's servers. It is built if it has to be.
func ToolFor(t testing.TB, b servertest.Binaries) Tool {
	t.Helper()
	path, err := Build()
	if err != nil {
		t.Fatal(err)
	}
	return Tool{Path: path}.With("PATH=" + filepath.Dir(b.Mysqld) + string(os.PathListSeparator) + os.Getenv("PATH"))
}

// With is the program with more of an environment.
func (k Tool) With(env ...string) Tool {
	k.Env = append(k.Env[:len(k.Env):len(k.Env)], env...)
	return k
}

// Command is a command of the program, not yet started.
func (k Tool) Command(args ...string) *exec.Cmd {
	cmd := exec.Command(k.Path, args...)
	if len(k.Env) > 0 {
		cmd.Env = append(os.Environ(), k.Env...)
	}
	return cmd
}

// ExitCode is that of the program whose run ended with err; -1 if it did not come to one.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	var e *exec.ExitError
	if errors.As(err, &e) {
		return e.ExitCode()
	}
	return -1
}

// What was built before, for all the test processes of a run; see EnvBuilt.
const (
	envTool       = "TIDEMARK_TEST_TOOL"
	envFailpoints = "TIDEMARK_TEST_TOOL_FAILPOINTS"
)

var (
	buildOnce      = sync.OnceValues(func() (string, error) { return build(envTool, "tidemark") })
	failpointsOnce = sync.OnceValues(func() (string, error) {
		return build(envFailpoints, "tidemark-failpoints", "-tags", "failpoints")
	})
)

// Build returns the path of the program. It is kept in the checkout's .tools, where go build leaves it
// alone while it is up to date.
func Build() (string, error) { return buildOnce() }

// BuildFailpoints is Build of a program with failpoints, which none is made with otherwise.
func BuildFailpoints() (string, error) { return failpointsOnce() }

// EnvBuilt builds both programs, and returns the environment by which test processes use these.
func EnvBuilt() ([]string, error) {
	plain, err := Build()
	if err != nil {
		return nil, err
	}
	failpoints, err := BuildFailpoints()
	return []string{envTool + "=" + plain, envFailpoints + "=" + failpoints}, err
}

func build(env, name string, options ...string) (string, error) {
	if path := os.Getenv(env); path != "" {
		return path, nil
	}
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	tools := filepath.Join(strings.TrimSpace(string(root)), ".tools")
	if err := os.MkdirAll(tools, 0o755); err != nil {
		return "", err
	}
	lock, err := lockFile(filepath.Join(tools, "tidemark.lock"), syscall.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer lock.Close() // and with it the lock: tests of several packages run at once
	path := filepath.Join(tools, name)
	args := append([]string{"build", "-o", path}, options...)
	if out, err := exec.Command("go", append(args, "tidemark/cmd/tidemark")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build tidemark: %w\n%s", err, out)
	}
	return path, nil
}
