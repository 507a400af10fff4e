package restore

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

// What mariadb-backup says of the redo log while it prepares a copy: where it begins, and how far it is. The
// second line comes now and then, where there is much.
var (
	recoveryFrom = regexp.MustCompile(`InnoDB: Starting crash recovery from checkpoint LSN=(\d+)`)
	recoveryAt   = regexp.MustCompile(`InnoDB: (?:Read redo log up to LSN=|To recover: LSN |End of log at LSN=)(\d+)`)
	lastLSN      = regexp.MustCompile(`(?m)^last_lsn = (\d+)`)
)

// prepareProgress reads what the tool prints and tells how much of the redo log is applied, in its bytes.
type prepareProgress struct {
	last    int64 // where the log of the copy ends; 0 if unknown
	from    int64
	line    []byte
	percent int64 // as last told
	tell    func(done, total int64)
}

// newPrepareProgress reads in a copy's own files where its redo log ends.
func newPrepareProgress(target string, tell func(done, total int64)) *prepareProgress {
	p := &prepareProgress{tell: tell, percent: -1}
	for _, name := range []string{"xtrabackup_checkpoints", "mariadb_backup_checkpoints"} {
		text, err := os.ReadFile(filepath.Join(target, name))
		if m := lastLSN.FindSubmatch(text); err == nil && m != nil {
			p.last, _ = strconv.ParseInt(string(m[1]), 10, 64)
		}
	}
	return p
}

// Write takes what the tool prints.
func (p *prepareProgress) Write(b []byte) (int, error) {
	p.line = append(p.line, b...)
	for {
		i := bytes.IndexByte(p.line, '\n')
		if i < 0 {
			break
		}
		p.read(p.line[:i])
		p.line = p.line[i+1:]
	}
	if len(p.line) > 64<<10 {
		p.line = nil
	}
	return len(b), nil
}

func (p *prepareProgress) read(line []byte) {
	if m := recoveryFrom.FindSubmatch(line); m != nil {
		p.from, _ = strconv.ParseInt(string(m[1]), 10, 64)
	}
	m := recoveryAt.FindSubmatch(line)
	if m == nil || p.from == 0 || p.last <= p.from {
		return
	}
	at, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		return
	}
	done, total := min(at, p.last)-p.from, p.last-p.from
	if percent := done * 100 / total; done >= 0 && percent > p.percent {
		p.percent = percent
		p.tell(done, total)
	}
}
