package basebackup

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tidemark/internal/binlog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/internal/xbstream"
)

// What the stream must hold.
var (
	xtraBinlogInfo  = []string{"xtrabackup_binlog_info"}
	xtraCheckpoints = []string{"xtrabackup_checkpoints"}
	xtraInfo        = []string{"xtrabackup_info"}
)

// info reads what the tool has put into the stream beside the data, and compares it with what it said.
func (x *XtraBackup) info(j *xtraJob, inspect *xbstream.Inspector, said string) (Info, error) {
	text, err := kept(inspect, xtraBinlogInfo, xtraCheckpoints, xtraInfo, serverConf)
	if err != nil {
		return Info{}, err
	}
	i := Info{ToolVersion: j.version.Text, ServerVersion: j.server.version.Text, Flavor: gtid.MySQL,
		ServerID: j.server.id, ServerUUID: j.before.uuid, Variables: j.server.recorded(parseSettings(text[3]))}
	if i.Source, i.GTID, err = parseBinlogInfo(text[0]); err != nil {
		return i, fmt.Errorf("read %s: %w", xtraBinlogInfo[0], err)
	}
	i.GTID = strings.Join(strings.Fields(i.GTID), "") // it may go over several lines
	if i.FromLSN, i.ToLSN, err = parseCheckpoints(text[1]); err != nil {
		return i, fmt.Errorf("read %s: %w", xtraCheckpoints[0], err)
	}
	settings := parseSettings(text[2])
	if err := complete(settings); err != nil {
		return i, fmt.Errorf("read %s: %w", xtraInfo[0], err)
	}
	for where, text := range map[string]string{xtraInfo[0]: settings["binlog_pos"], "its log": said} {
		if at, err := parseSaid(text); err != nil {
			return i, fmt.Errorf("read the position in %s: %w", where, err)
		} else if at != i.Source {
			return i, fmt.Errorf("its position is %s in %s, and %s in %s", i.Source, xtraBinlogInfo[0], at, where)
		}
	}
	return i, nil
}

var saidPosition = regexp.MustCompile(`^filename '([^']+)', position '?(\d+)`)

// parseSaid reads a position as xtrabackup writes it for people: "filename 'binlog.000002', position
// '157', GTID of the last change '…'".
func parseSaid(text string) (binlog.Point, error) {
	m := saidPosition.FindStringSubmatch(text)
	if m == nil {
		return binlog.Point{}, fmt.Errorf("%q is not file and position", text)
	}
	offset, err := strconv.ParseUint(m[2], 10, 64)
	return binlog.Point{File: m[1], Offset: offset}, err
}

// compare asks the server where it is after the copy, and fills in what only that tells.
func (x *XtraBackup) compare(ctx context.Context, j *xtraJob, i *Info) error {
	conn, err := x.account().dial(ctx)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	after, err := x.account().position(conn)
	if err != nil {
		return err
	}
	wrong := func(err error) error {
		return fault.New(fault.Primary, "copy", x.Primary.addr(), err).
			WithHint("See in the server's log whether it was restarted or its binlog reset. Nothing of the backup is kept; it can be taken again.")
	}
	if after.uuid != j.before.uuid {
		return wrong(fmt.Errorf("another server answers now: its UUID is %s, and was %s", after.uuid, j.before.uuid))
	}
	var sets [3]*gtid.Set
	for k, text := range []string{j.before.gtids, i.GTID, after.gtids} {
		if sets[k], err = gtid.ParseSet(text); err != nil {
			return wrong(err)
		}
	}
	if !sets[1].ContainsSet(sets[0]) || !sets[2].ContainsSet(sets[1]) {
		return wrong(fmt.Errorf("the copy is of %s, and the server was at %s before it, and at %s after", i.GTID, j.before.gtids, after.gtids))
	}
	// A table may have become one that is not copied meanwhile.
	empty, err := x.emptyTables(conn)
	if err != nil {
		return err
	}
	all := slices.Concat(j.server.empty, empty)
	slices.Sort(all)
	i.GTIDMin, i.SourceMin, i.Consistent, i.EmptyTables = i.GTID, i.Source, after.now, slices.Compact(all)
	i.File = j.server.binlogFile(i.Source.File)
	return nil
}
