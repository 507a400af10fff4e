package restore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/internal/catalog"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
)

// TestIntoService moves a result into a service whose systemctl and server are made up.
func TestIntoService(t *testing.T) {
	const unit = "LoadState=loaded\nActiveState=inactive\nExecStart={ path=/usr/sbin/mariadbd ; argv[]=/usr/sbin/mariadbd --defaults-file=/etc/my.cnf $OPTS --port=3 ; ignore_errors=no }\n"
	for name, c := range map[string]struct {
		unit, help string
		err        error
		refused    string
	}{
		"stopped":        {unit, "Usage\nport   3306\ndatadir                  DATADIR/\nskip  FALSE\n", nil, ""},
		"failed":         {strings.Replace(unit, "inactive", "failed", 1), "datadir DATADIR\n", nil, ""},
		"running":        {strings.Replace(unit, "inactive", "active", 1), "datadir DATADIR\n", nil, "it is active"},
		"unknown":        {"LoadState=not-found\nActiveState=inactive\nExecStart=\n", "", nil, "no such service"},
		"no systemd":     {"", "", errors.New("not found"), "not found"},
		"says nothing":   {unit, "what?\n", nil, "does not say where its data is"},
		"elsewhere":      {unit, "datadir /proc/self\n", nil, "on another file system"},
		"no directory":   {unit, "datadir DATADIR/no\n", nil, "no such file"},
		"starts nothing": {strings.Replace(unit, "argv[]", "x", 1), "", nil, "cannot be told"},
	} {
		dir := t.TempDir()
		datadir, target := filepath.Join(dir, "mysql"), filepath.Join(dir, "restored")
		for path, file := range map[string]string{datadir: "old", target: "new"} {
			if err := errors.Join(os.Mkdir(path, 0o750), os.WriteFile(filepath.Join(path, file), nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(target, 0o700); err != nil {
			t.Fatal(err)
		}
		var asked []string
		s := &Service{Name: "mariadb", Run: func(_ context.Context, name string, args ...string) ([]byte, error) {
			asked = append(asked, name+" "+strings.Join(args, " "))
			if name == "systemctl" {
				return []byte(c.unit), c.err
			}
			return []byte(strings.ReplaceAll(c.help, "DATADIR", datadir)), nil
		}}
		r := &run{Options: Options{Service: s, FS: durable.OS{}}, clock: &standing{now: noon}, work: &workspace{target: target},
			plan: &Plan{base: &catalog.Base{}}, report: &Report{NextSteps: []string{"Start a server.", "Then more."}}}
		err := r.moveIn(context.Background())
		if c.refused != "" {
			if err == nil || !strings.Contains(err.Error(), c.refused) || fault.HintOf(err) == "" {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := os.Stat(filepath.Join(datadir, "old")); err != nil {
				t.Errorf("%s: refused, and changed: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		kept := datadir + "." + noon.Format("20060102T150405Z")
		info, err := os.Stat(datadir)
		_, newErr := os.Stat(filepath.Join(datadir, "new"))
		_, oldErr := os.Stat(filepath.Join(kept, "old"))
		_, gone := os.Stat(target)
		if err := errors.Join(err, newErr, oldErr); err != nil || info.Mode().Perm() != 0o750 || !os.IsNotExist(gone) {
			t.Errorf("%s: %v, mode %s, target: %v", name, err, info.Mode(), gone)
		}
		if m := r.report.Moved; m.Datadir != datadir || m.Kept != kept || !strings.Contains(r.report.NextSteps[0], "another server_id") || len(r.report.NextSteps) != 3 {
			t.Errorf("%s: the report says %+v and %q", name, m, r.report.NextSteps)
		}
		if !strings.HasPrefix(asked[1], "/usr/sbin/mariadbd --defaults-file=/etc/my.cnf ") || !strings.HasSuffix(asked[1], "--verbose --help") {
			t.Errorf("%s: asked %q", name, asked)
		}
	}
}
