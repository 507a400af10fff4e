package restore

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestPrepareProgress reads what mariadb-backup prints; one line comes in two pieces, one repeats a percent,
// one goes back, and one says more than there is.
func TestPrepareProgress(t *testing.T) {
	for _, name := range []string{"xtrabackup_checkpoints", "mariadb_backup_checkpoints"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), []byte("backup_type = full-backuped\nfrom_lsn = 0\nto_lsn = 1000\nlast_lsn = 2000\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		var told []string
		p := newPrepareProgress(dir, func(done, total int64) { told = append(told, fmt.Sprint(done, "/", total)) })
		for _, text := range []string{"[Note] InnoDB: Read redo log up to LSN=1100\n", "[Note] InnoDB: Starting crash recovery from checkpoint LSN=1000\n",
			"[Note] InnoDB: Read redo log up to", " LSN=1250\n[Note] InnoDB: Read redo log up to LSN=1259\n", "[Note] InnoDB: To recover: LSN 1500/2000; 17 pages\n",
			"[Note] InnoDB: Read redo log up to LSN=1400\n", "[Note] InnoDB: End of log at LSN=2010\n", "[Note] InnoDB: To recover: 17 pages\n"} {
			if _, err := p.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		if want := []string{"250/1000", "500/1000", "1000/1000"}; !slices.Equal(told, want) {
			t.Errorf("%s: %v, want %v", name, told, want)
		}
	}
}
