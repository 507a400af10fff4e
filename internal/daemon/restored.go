package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tidemark/archiver"
	"tidemark/internal/binlog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/replica"
)

// errKept: the server's binlog is older than its data.
var errKept = errors.New("it seems to have been restored, and goes on with the binlog that the server before it has left, which holds what its data does not")

// A server that is restored to before an accident, and put where the old one was, goes on in the old one's binlog if that lies
// outside of the data directory: to whoever reads it the accident is a part of its history, followed by what the server writes now.
// A log that goes on so must not be applied to a base backup from before the accident.
//
// Such a server has the very file that was archived last, and is another server: on MySQL it has another UUID. On MariaDB it has
// another server_id, which a running server may be given too; but then its data holds all of the file, and what was restored says
// where it ends (gtid_slave_pos): before transactions that the old server_id has in the binlog.

// kept returns an error of errKept if a server is another one than was archived last, and has that one's binlog.
func (c *cluster) kept(ctx context.Context, o replica.Options, s *replica.Server, resume *archiver.Resume) error {
	if resume.From.File == "" || s.Flavor == gtid.MySQL && s.UUID == resume.UUID {
		return nil
	}
	conn, err := replica.Dial(ctx, o)
	if err != nil {
		return err
	}
	defer conn.Close()
	history, err := replica.ReadHistory(conn, s.Flavor)
	if err != nil {
		return err
	}
	what := ""
	if s.Flavor == gtid.MariaDB {
		beyond := history.Beyond(resume.ServerID)
		if len(beyond) == 0 {
			return nil
		}
		what = ": " + gtid.FormatList(beyond)
	}
	files, err := replica.Files(conn)
	if err != nil {
		return err
	}
	// A replica that was made from a copy of the primary's files has the file too, and not all that was archived of it.
	i := slices.IndexFunc(files, func(f binlog.Point) bool { return f.File == resume.From.File })
	if i < 0 || files[i].Offset <= resume.From.Offset {
		return nil
	}
	format, err := c.format(ctx, o, resume.From.File)
	if errors.Is(err, replica.ErrNoFile) || err == nil && format.Fingerprint() != resume.Format {
		return nil
	}
	if err != nil {
		return err
	}
	return fault.New(fault.Primary, "go on with", o.Host, fmt.Errorf("%w%s", errKept, what))
}
