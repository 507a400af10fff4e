package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"tidemark/integration/kit/servertest"
)

// byHand returns how many transactions a second a server applies when the primary's own files are put into
// its relay log by hand, all at once: the best that feeding it in batches can reach. The server has the
// settings of a restore, and one applier.
func (b *restoreBench) byHand(count int) (float64, error) {
	target, relay := filepath.Join(b.dir, "byhand"), filepath.Join(b.dir, "relay")
	defer os.RemoveAll(target)
	defer os.RemoveAll(relay)
	if err := os.Mkdir(relay, 0o700); err != nil {
		return 0, err
	}
	if _, err := b.restore(target, "--to-gtid", b.base.gtid); err != nil {
		return 0, err
	}
	redo, skip := "--innodb-log-file-size=512M", "--skip-slave-start"
	change := []string{"SET GLOBAL gtid_slave_pos='" + b.base.gtid + "'",
		"CHANGE MASTER TO master_host='none', master_user='none', master_use_gtid=no, master_log_file='" + b.base.file + "', master_log_pos=" + b.base.offset}
	begin := []string{"CHANGE MASTER TO relay_log_file='relay.000001', relay_log_pos=" + b.base.offset, "START SLAVE SQL_THREAD"}
	ask, stop := "SELECT @@gtid_slave_pos", "STOP SLAVE"
	if b.bin.Flavor == servertest.MySQL {
		redo, skip = "--innodb-redo-log-capacity=512M", "--replica-parallel-workers=1"
		change = []string{"CHANGE REPLICATION SOURCE TO source_host='none', source_user='none', source_auto_position=1"}
		begin = []string{"START REPLICA SQL_THREAD"}
		ask, stop = "SELECT REPLACE(@@GLOBAL.gtid_executed, '\n', '')", "STOP REPLICA"
	}
	p, err := b.server(target, "0", redo, skip, "--relay-log="+filepath.Join(relay, "relay"), "--relay-log-index="+filepath.Join(relay, "relay.index"), "--relay-log-purge=ON")
	if err != nil {
		return 0, err
	}
	defer p.Close()
	logs, err := b.binlogs(b.base, b.end)
	if err != nil {
		return 0, err
	}
	if err := p.Exec(append(change, slices.Repeat([]string{"FLUSH RELAY LOGS"}, len(logs))...)...); err != nil {
		return 0, err
	}
	for i, log := range logs {
		if err := exec.Command("cp", log, filepath.Join(relay, fmt.Sprintf("relay.%06d", i+1))).Run(); err != nil {
			return 0, err
		}
	}
	start := time.Now()
	if err := p.Exec(begin...); err != nil {
		return 0, err
	}
	for {
		at, err := p.Value(ask)
		if err != nil {
			return 0, err
		}
		if at == b.end.gtid {
			break
		}
		if time.Since(start) > 30*time.Minute {
			return 0, fmt.Errorf("the server is at %s, not %s:\n%s", at, b.end.gtid, p.LogTail(20))
		}
		time.Sleep(10 * time.Millisecond)
	}
	took := since(start)
	if err := p.Exec(stop); err != nil {
		return 0, err
	}
	return float64(count) / took, b.check(p, b.end)
}

// wholeByHand returns the seconds that it takes to unpack the base backup with the standard tools, to
// prepare it and to start a server on it.
func (b *restoreBench) wholeByHand() (float64, error) {
	if b.bin.Flavor == servertest.MySQL {
		return 0, errors.New("a clone cannot be unpacked by standard tools")
	}
	target := filepath.Join(b.dir, "unpacked")
	defer os.RemoveAll(target)
	parts, err := filepath.Glob(filepath.Join(b.dir, "archive", "*", "base", "*", "*.mbstream.zst"))
	if err != nil || len(parts) == 0 {
		return 0, errors.Join(err, errors.New("the archive has no parts of a base backup"))
	}
	start := time.Now()
	script := "set -e -o pipefail; mkdir $0; for p; do zstd -dcq $p; done | mbstream -x -C $0; mariadb-backup --prepare --target-dir=$0 >$0.log 2>&1"
	if out, err := exec.Command("bash", append([]string{"-c", script, target}, parts...)...).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%w\n%s", err, out)
	}
	p, err := b.server(target, "2")
	if err != nil {
		return 0, err
	}
	took := since(start)
	defer p.Close()
	return took, b.check(p, b.base)
}
