// Command storages runs the demo and the tests of restores, as they are, on every kind of storage, with and
// without encryption. The object storages are services on this machine.
//
//	go run ./integration/storages [-run TestTargets] [-n 2] [-servers mariadb-10.11] [-only s3,azblob]
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tidemark/integration/kit"
	"tidemark/storage/emulatortest"
)

const file = "file"

func main() {
	tests := flag.String("run", "TestTargets|TestResume|TestExclude|TestStatement|TestAcrossTheBase", "the tests of integration/restoring")
	n := flag.Int("n", 2, "count of those that are counted")
	servers := flag.String("servers", "mariadb-10.11", "versions of the servers, with commas between")
	only := flag.String("only", "", "kinds of storage, with commas between; all of them if empty")
	flag.Parse()
	dir, err := os.MkdirTemp("", "tidemark-storages-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "storages:", err)
		os.Exit(1)
	}
	m := matrix{dir: dir, demo: filepath.Join(dir, "demo"), tests: "^(" + *tests + ")$",
		env: append(os.Environ(), "TIDEMARK_N="+strconv.Itoa(*n), "TIDEMARK_TEST_SERVERS="+*servers, "TIDEMARK_MUST_RUN=1")}
	err = m.run(*only)
	_ = os.RemoveAll(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "storages:", err)
		os.Exit(1)
	}
}

type matrix struct {
	dir   string // temporary
	demo  string // the program
	tests string // a regular expression
	env   []string
}

func (m *matrix) run(only string) error {
	if out, err := exec.Command("go", "build", "-o", m.demo, "./integration/demo").CombinedOutput(); err != nil {
		return fmt.Errorf("build the demo: %w\n%s", err, out)
	}
	var failed error
	for _, scheme := range append([]string{file}, emulatortest.Schemes()...) {
		if only != "" && !slices.Contains(strings.Split(only, ","), scheme) {
			continue
		}
		for _, encrypted := range []bool{false, true} {
			name := scheme
			if encrypted {
				name += ", encrypted"
			}
			began := time.Now()
			err := m.on(scheme, encrypted)
			fmt.Printf("%-20s %5.0f s  %s\n", name, time.Since(began).Seconds(), map[bool]string{true: "ok", false: "FAILED"}[err == nil])
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	return failed
}

// on runs everything on one kind of storage.
func (m *matrix) on(scheme string, encrypted bool) error {
	dir, err := os.MkdirTemp(m.dir, scheme)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	archive, settings, env := file+"://"+dir+"/archives", "{}", m.env
	if scheme != file {
		service, err := emulatortest.Launch(scheme, dir)
		if err != nil {
			return err
		}
		defer service.Close()
		bucket, err := service.Bucket()
		if err != nil {
			return fmt.Errorf("create a bucket: %w", err)
		}
		archive, settings, env = scheme+"://"+bucket+"/archives", service.Settings, append(env, service.Env...)
	}
	env = append(slices.Clip(env), kit.Elsewhere(archive, settings, encrypted)...)
	for _, command := range [][]string{
		{m.demo, "-seconds", "3"},
		{"go", "test", "./integration/restoring", "-run", m.tests, "-count=1", "-parallel=8", "-timeout=20m"},
	} {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out[max(0, len(out)-8000):])
		}
	}
	return nil
}
