package daemon

import (
	"context"
	"fmt"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/gtid"
	"tidemark/replica"
)

// afterTorn returns the beginning of the file in which the log goes on, when the one before it ends inside an
// event: MariaDB, killed while it writes a transaction, leaves its half in the file, begins the next one when
// it starts again, and sends its replicas an error at that place for ever. The next file must begin where all
// that was received ends. In any other case the place has no file.
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
		same, err := catalog.SamePosition(gtid.MariaDB, begins, resume.Reached)
		if err == nil && !same {
			err = fmt.Errorf("the next file begins at %s, and what was received ends at %s", begins, resume.Reached)
		}
		if err != nil {
			return next, err
		}
		return binlog.Point{File: files[i+1].File, Offset: uint64(len(binlog.Magic))}, nil
	}
	return next, nil
}
