package basebackup

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"tidemark/internal/clock"
)

// watch follows what a tool says of its locks, and kills it, which frees them, when that lasts.
//
// While the tool waits for a lock others can wait behind it. And at the end of a copy it blocks all
// commits for a moment: if what it writes meanwhile is not taken, because the archive is slow, that
// moment lasts. The tool's own option for the former, --ftwrl-wait-timeout, is of no use on a busy
// server: it looks once a second whether any query at all is running, and fails if one always is.
type watch struct {
	clock  clock.Clock
	follow func(w *watch, line string) // knows what the tool says
	kill   func(error)

	lockWait, blockLimit time.Duration

	waiting, blocking chan struct{} // closed when what they bound is over; nil: not under way
}

// Defaults of LockWait and BlockLimit of engines that run a tool.
const (
	defaultLockWait   = time.Minute
	defaultBlockLimit = 30 * time.Second
)

func newWatch(c clock.Clock, lockWait, blockLimit time.Duration, follow func(*watch, string)) *watch {
	w := &watch{clock: c, follow: follow, lockWait: lockWait, blockLimit: blockLimit}
	if w.lockWait <= 0 {
		w.lockWait = defaultLockWait
	}
	if w.blockLimit <= 0 {
		w.blockLimit = defaultBlockLimit
	}
	return w
}

// line looks at a line of the tool's log.
func (w *watch) line(s string) { w.follow(w, s) }

const slowArchive = "commits on the server were blocked for %s and the copy did not end, because the archive did not take it or the tool could not follow the redo log; it was given up to let them go on"

// mariadbBackup follows mariadb-backup.
func (w *watch) mariadbBackup(s string) {
	switch {
	case strings.Contains(s, "Was only able to copy log from"):
		w.kill(errors.New("the server wrote over its redo log before it was copied; a larger innodb_log_file_size leaves more time"))
	case strings.HasSuffix(s, "Starting BACKUP STAGE BLOCK_COMMIT"):
		end(&w.waiting)
		w.begin(&w.waiting, w.blockLimit, "mariadb-backup did not get the lock that stops commits within %s; it was given up to let those go on that wait behind it")
	case strings.HasSuffix(s, "Acquired locks for BACKUP STAGE BLOCK_COMMIT"):
		end(&w.waiting)
		w.begin(&w.blocking, w.blockLimit, slowArchive)
	case strings.Contains(s, " Starting BACKUP STAGE "), strings.Contains(s, " Started BACKUP STAGE "):
		end(&w.waiting)
		w.begin(&w.waiting, w.lockWait, "mariadb-backup did not get its lock within %s, as a session of the server holds one; others may have waited behind it")
	case strings.Contains(s, " Acquired locks for BACKUP STAGE "):
		end(&w.waiting)
	case strings.HasSuffix(s, "All tables unlocked"):
		end(&w.blocking)
	}
}

// xtrabackup follows xtrabackup. Its locks against DDL are bounded by options. Where there
// are tables of MyISAM, and no LOCK TABLES FOR BACKUP, it stops all commits to copy them: from when it
// asks for that, as others wait behind it.
func (w *watch) xtrabackup(s string) {
	switch {
	case strings.Contains(s, "Executing FLUSH NO_WRITE_TO_BINLOG TABLES"):
		w.begin(&w.waiting, w.lockWait, "xtrabackup could not flush the tables within %s, as a session of the server uses one; others may have waited behind it")
	case strings.Contains(s, "Executing FLUSH TABLES WITH READ LOCK"):
		end(&w.waiting)
		w.begin(&w.blocking, w.blockLimit, "commits on the server were blocked for %s to copy tables that are not InnoDB's, or to wait for a session that uses one; it was given up to let them go on")
	case strings.Contains(s, "Executing UNLOCK TABLES"), strings.HasSuffix(s, "All tables unlocked"):
		end(&w.blocking)
	}
}

// begin kills the tool unless what then begins ends within limit.
func (w *watch) begin(over *chan struct{}, limit time.Duration, why string) {
	if *over != nil {
		return
	}
	done, expired := make(chan struct{}), w.clock.After(limit)
	*over = done
	go func() {
		select {
		case <-done:
		case <-expired:
			w.kill(fmt.Errorf(why, limit))
		}
	}()
}

func end(over *chan struct{}) {
	if *over != nil {
		close(*over)
		*over = nil
	}
}

// stop ends whatever is under way.
func (w *watch) stop() {
	end(&w.waiting)
	end(&w.blocking)
}
