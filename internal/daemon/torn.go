package daemon

import (
	"context"
	"fmt"

	"tidemark/internal/binlog"
	"tidemark/internal/gtid"
	"tidemark/replica"
)

// afterTorn returns the beginning of the file in which the log goes on, when the one before it ends inside an
// event: MariaDB, killed while it writes a transaction, leaves its half in the file, begins the next one when
// it starts again, and sends its replicas an error at that place for ever. The next file must begin where all
// that was received ends; the domain of the half transaction may stand earlier there. In any other case the
// place has no file.
func (c *cluster) afterTorn(ctx context.Context) (next binlog.Point, _ error) {
	if c.cat.Cluster.Flavor != gtid.MariaDB {
		return next, nil
	}
	resume, err := c.arch.Resume(ctx)
	if err != nil || resume.Reached == nil {
		return next, err
	}
	o, err := Connection(c.cfg, c.tried())
	if err != nil {
		return next, err
	}
	conn, err := replica.Dial(ctx, o)
	if err != nil {
		return next, err
	}
	defer conn.Close()
	files, err := replica.Files(conn)
	if err != nil {
		return next, err
	}
	for i, f := range files[:len(files)-1] {
		if f.File != resume.From.File {
			continue
		}
		begins, err := replica.FilePosition(conn, files[i+1].File)
		if err != nil {
			return next, err
		}
		goesOn, err := continues(resume.Reached, begins)
		if err == nil && !goesOn {
			err = fmt.Errorf("the next file begins at %s, and what was received ends at %s", begins, resume.Reached)
		}
		if err != nil {
			return next, err
		}
		return binlog.Point{File: files[i+1].File, Offset: uint64(len(binlog.Magic))}, nil
	}
	return next, nil
}

// continues reports whether a file that begins at a GTID position is the one behind a torn file, of which all
// that is whole has been received. The server that looks through its files after a crash mistakes the first
// transaction of an earlier file for the last one of the torn transaction's domain: so one domain may be behind.
func continues(reached *gtid.State, begins string) (bool, error) {
	listed, err := gtid.ParsePosition(begins)
	if err != nil {
		return false, err
	}
	behind := 0
	for domain, g := range reached.Position() {
		if l, ok := listed[domain]; ok && l.Server == g.Server && l.Seq < g.Seq {
			listed[domain] = g
			behind++
		}
	}
	return behind <= 1 && listed.Equal(reached.Position()), nil
}
