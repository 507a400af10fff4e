package cli

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tidemark/internal/config"
)

func TestCheckUnreachable(t *testing.T) {
	dir := t.TempDir()
	env := []string{"TIDEMARK_STATE_DIR=" + dir + "/state"}
	args := []string{"check", "--archive", "file://" + dir + "/archive", "--primary", "127.0.0.1:1", "--user", "u"}
	o := program(context.Background(), env, args...).must(t, 15)
	for _, want := range []string{"ok       storage ", "ok       archive       none yet", "state_dir", "problem  primary", "connection refused", "-> "} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("no %q in\n%s", want, o.stdout)
		}
	}
	if left, err := filepath.Glob(dir + "/archive/*/check/*"); err != nil || len(left) > 0 {
		t.Errorf("the probe is left: %v", left)
	}
	if _, err := os.Stat(dir + "/state"); !os.IsNotExist(err) {
		t.Errorf("check made the state directory: %v", err)
	}
	var r checkResult
	program(context.Background(), env, append(args, "--json")...).must(t, 15).parse(t, &r)
	if c := r.Clusters[0]; c.Name != "default" || !slices.ContainsFunc(c.Findings, func(f *checkFinding) bool {
		return f.Check == "primary" && f.Result == "problem" && f.Remedy != ""
	}) {
		t.Errorf("%+v", r)
	}
}

func TestCheckStorage(t *testing.T) {
	env := []string{"TIDEMARK_STATE_DIR=" + t.TempDir()}
	o := program(context.Background(), env, "check", "--archive", "down://bucket", "--primary", "127.0.0.1:1", "--user", "u").must(t, 16)
	if !strings.Contains(o.stdout, "problem  storage       put an object: put: no route to host") {
		t.Error(o.stdout)
	}
	o = program(context.Background(), env, "check", "--primary", "127.0.0.1:1", "--user", "u").must(t, 17)
	if !strings.Contains(o.stdout, "no archive is configured") {
		t.Error(o.stdout)
	}
}

func TestCheckPassword(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "c.yaml")
	check(t, os.WriteFile(filepath.Join(dir, "pw"), []byte("hunter2"), 0o644))
	check(t, os.WriteFile(config, []byte("archive: file://"+dir+"/a\nstate_dir: "+dir+"\nclusters: {shop: {hosts: [\"127.0.0.1:1\"], user: u, password_file: "+dir+"/pw}}\n"), 0o600))
	o := tidemark("check", "--config", config).must(t, 17)
	if !strings.Contains(o.stdout, "mode 0644") || !strings.Contains(o.stdout, "chmod 0600") || strings.Contains(o.stdout, "hunter2") {
		t.Error(o.stdout)
	}
}

func TestPrivileges(t *testing.T) {
	all := append(slices.Clone(toArchive), toBackUp[config.EngineMariaDB]...)
	for _, test := range []struct {
		grants  []string
		missing string
	}{
		{[]string{"GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"}, ""},
		{[]string{"GRANT RELOAD, PROCESS, REPLICATION SLAVE, BINLOG MONITOR ON *.* TO `t`@`%` IDENTIFIED BY PASSWORD '*x'"}, ""},
		{[]string{"GRANT RELOAD, PROCESS, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `t`@`%`"}, ""},
		{[]string{"GRANT USAGE ON *.* TO `t`@`%`", "GRANT ALL PRIVILEGES ON `shop`.* TO `t`@`%`"}, "REPLICATION SLAVE BINLOG MONITOR RELOAD PROCESS"},
		{[]string{"GRANT REPLICATION SLAVE ON *.* TO `t`@`%`", "GRANT `r` TO `t`@`%`"}, "BINLOG MONITOR RELOAD PROCESS"},
	} {
		if got := strings.Join(missingPrivileges(test.grants, all), " "); got != test.missing {
			t.Errorf("%v: %q, want %q", test.grants, got, test.missing)
		}
	}
}
