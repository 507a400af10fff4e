package basebackup

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"tidemark/internal/binlog"
)

// parseBinlogInfo reads where in the binlog a copy is consistent: "binlog.000007\t1640490\t0-1-34103".
// The GTID position is missing where the server has none.
func parseBinlogInfo(text string) (binlog.Point, string, error) {
	fields := strings.Split(strings.TrimRight(text, "\n"), "\t")
	if len(fields) < 2 || len(fields) > 3 || fields[0] == "" {
		return binlog.Point{}, "", fmt.Errorf("%q is not file, position and GTIDs", text)
	}
	offset, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		return binlog.Point{}, "", fmt.Errorf("%q is not a position", fields[1])
	}
	gtids := ""
	if len(fields) == 3 {
		gtids = strings.TrimSpace(fields[2])
	}
	return binlog.Point{File: fields[0], Offset: offset}, gtids, nil
}

// parseCheckpoints reads from which redo log position to which a copy reaches.
func parseCheckpoints(text string) (from, to uint64, err error) {
	s := parseSettings(text)
	if t := s["backup_type"]; t != "full-backuped" && t != "full-prepared" {
		return 0, 0, fmt.Errorf("the copy is of type %q, not a full one", t)
	}
	from, err1 := strconv.ParseUint(s["from_lsn"], 10, 64)
	to, err2 := strconv.ParseUint(s["to_lsn"], 10, 64)
	return from, to, errors.Join(err1, err2)
}

// complete refuses a copy that the tool calls less than whole.
func complete(info map[string]string) error {
	for _, name := range []string{"partial", "incremental", "compressed", "encrypted"} {
		if v := info[name]; v != "N" && v != "" {
			return fmt.Errorf("the copy is %s (%s)", name, v)
		}
	}
	return nil
}

// parseSettings reads lines of name=value. Dashes in names become underscores.
// Other lines are passed over.
func parseSettings(text string) map[string]string {
	s := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(line, "=")
		if name = strings.TrimSpace(name); ok && !strings.HasPrefix(name, "#") {
			s[strings.ReplaceAll(name, "-", "_")] = strings.TrimSpace(value)
		}
	}
	return s
}
