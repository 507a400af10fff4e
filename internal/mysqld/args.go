package mysqld

import (
	"fmt"
	"path/filepath"

	"tidemark/internal/gtid"
)

// Sizes in bytes.
const (
	minPool = 128 << 20
	maxPool = 32 << 30
	minRedo = 96 << 20
	maxRedo = 1 << 30
)

// args are the options of a private server: no network, no binlog, nothing that starts by itself,
// and nothing that reaches the disk sooner than it must. A clean shutdown makes all of it durable.
func (s *Server) args(optionFile, initFile string, layout []string) []string {
	o := s.o
	args := []string{"--defaults-file=" + optionFile}
	if o.PluginDir != "" {
		args = append(args, "--plugin-dir="+o.PluginDir)
	}
	// On the command line, so that the user's own option file, which may be the primary's, does not lead elsewhere.
	args = append(args, layout...)
	args = append(args, insideArgs(o.Flavor == gtid.MySQL)...)
	if o.User.UID == 0 {
		args = append(args, "--user=root")
	}
	pool := Pool(o.Memory)
	tmp := s.tmpDir()
	args = append(args,
		"--datadir="+o.Datadir,
		"--socket="+s.Socket(),
		"--pid-file="+filepath.Join(s.dir, "pid"),
		"--tmpdir="+tmp,
		"--init-file="+initFile,
		fmt.Sprintf("--server-id=%d", o.ServerID),
		"--skip-networking",
		"--skip-name-resolve",
		"--skip-log-bin",
		"--event-scheduler=OFF",
		"--general-log=OFF",
		"--slow-query-log=OFF",
		"--read-only=OFF",
		"--secure-file-priv=",
		"--max-allowed-packet=1G",
		"--innodb-flush-log-at-trx-commit=0",
		"--sync-binlog=0",
		fmt.Sprintf("--innodb-buffer-pool-size=%d", pool),
		"--innodb-buffer-pool-load-at-startup=OFF",
		"--innodb-buffer-pool-dump-at-shutdown=OFF",
		"--innodb-fast-shutdown=1",
	)
	if o.Flavor == gtid.MySQL {
		args = append(args,
			"--replica-load-tmpdir="+tmp,
			"--skip-replica-start",
			"--mysqlx=OFF",
			// Nobody connects over a network, so nobody needs the keys that it would make.
			"--auto-generate-certs=OFF",
			"--caching-sha2-password-auto-generate-rsa-keys=OFF",
			"--gtid-mode=ON",
			"--enforce-gtid-consistency=ON",
			fmt.Sprintf("--innodb-redo-log-capacity=%d", RedoLog(pool)),
		)
	} else {
		args = append(args,
			"--slave-load-tmpdir="+tmp,
			"--skip-slave-start",
			"--skip-log-error", // it inherits our file
			fmt.Sprintf("--innodb-log-file-size=%d", RedoLog(pool)),
		)
	}
	return append(args, o.Args...)
}

// Pool returns the size of a private server's buffer pool: what is asked for, or half of the memory
// that is available.
func Pool(wanted int64) int64 {
	if wanted <= 0 {
		wanted = min(Memory()/2, maxPool)
	}
	return max(wanted, minPool) &^ (1<<20 - 1)
}

// RedoLog returns the size of the redo log that goes with a buffer pool. It takes so much disk.
func RedoLog(pool int64) int64 { return min(max(pool/4, minRedo), maxRedo) &^ (1<<20 - 1) }
