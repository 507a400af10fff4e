package refusals

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
)

// TestFallBack: a restore whose newest base backup is damaged begins with the one before it, and says so.
func TestFallBack(t *testing.T) { onMariaDB(t, fallBack) }

func fallBack(t *testing.T, b servertest.Binaries) {
	w := newWorld(t, b)
	w.Start()
	w.Server.Exec("CREATE TABLE d.aria (id INT PRIMARY KEY, v VARCHAR(200)) ENGINE=Aria")
	fill := func(from, to int) {
		var rows []string // each a statement, so that each is logged
		for i := from; i < to; i++ {
			rows = append(rows, fmt.Sprintf("INSERT INTO d.aria VALUES (%d, REPEAT('x', 200))", i))
		}
		w.Server.Exec(rows...)
	}
	// A checkpoint between, which setting its interval makes, so that not all of the table is in its log.
	fill(0, 2000)
	w.Server.Exec("FLUSH TABLES", "SET GLOBAL aria_checkpoint_interval=1")
	fill(2000, 2500)
	w.RunTo([]int{0}, "backup", "shop")
	w.Stop()
	parts := w.objects("base/*/*.mbstream.zst")
	newest := parts[len(parts)-1]
	good, err := os.ReadFile(newest)
	must(t, err)
	plain := w.Tool
	for name, c := range map[string]struct {
		data  []byte
		spoil string // done to its files, in $dir, before they are prepared
	}{
		"truncated": {truncated(good), ""},
		"corrupted": {flipped(good), ""},
		// As the tool copies it now and then: shorter than its log says.
		"aria":   {good, `truncate -s 8192 "$dir/d/aria.MAI" "$dir/d/aria.MAD"`},
		"innodb": {good, `truncate -s 12288 "$dir/ib_logfile0"; dd if=/dev/zero of="$dir/ib_logfile0" bs=4096 count=1 conv=notrunc 2>/dev/null`},
	} {
		overwrite(t, newest, c.data)
		w.Tool = plain.With("PATH=" + spoiling(t, b.Backup, c.spoil) + string(os.PathListSeparator) + filepath.Dir(b.Mysqld) +
			string(os.PathListSeparator) + os.Getenv("PATH"))
		target := filepath.Join(w.Dir, name)
		out := w.Refused(fault.Warnings.ExitCode(), "restore", "shop", "--target-dir", target)
		if id := filepath.Base(filepath.Dir(newest)); !strings.Contains(out, "base backup "+id+" is passed over") {
			t.Fatalf("%s: %s", name, out)
		}
		again := servertest.Start(t, servertest.Options{ServerID: 99, Datadir: target, Binaries: b})
		if n := again.Value("SELECT COUNT(*) FROM d.t"); n != "3" {
			t.Errorf("%s: %s rows restored", name, n)
		}
		again.Kill()
	}
}

// spoiling returns a directory with a tool that does something to a copy with the table d.aria, in $dir, before it
// prepares it.
func spoiling(t *testing.T, tool, what string) string {
	t.Helper()
	bin := t.TempDir()
	script := fmt.Sprintf(`#!/bin/sh
for option; do
	case $option in --target-dir=*) dir=${option#--target-dir=};; esac
done
if [ -n "$dir" ] && [ -e "$dir/d/aria.MAI" ]; then
	:; %s
fi
exec %s "$@"
`, what, tool)
	must(t, os.WriteFile(filepath.Join(bin, "mariadb-backup"), []byte(script), 0o700))
	return bin
}
