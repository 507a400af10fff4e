package ledger

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit/servertest"
)

// Transaction is one of the log.
type Transaction struct {
	GTID   string
	File   string
	Offset int64     // where it begins
	Time   time.Time // of its commit
}

// Read reads a server's binlogs with the server's own tool.
func Read(t testing.TB, srv *servertest.Server) (log []Transaction) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(srv.Datadir, "binlog.[0-9][0-9][0-9][0-9][0-9][0-9]"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no binlogs of the server found, %v", err)
	}
	for _, f := range files {
		more, err := readFile(srv.Binaries.Binlog, f)
		if err != nil {
			t.Fatalf("read %s: %v", f, err)
		}
		log = append(log, more...)
	}
	return log
}

func readFile(tool, file string) ([]Transaction, error) {
	cmd := exec.Command(tool, "--no-defaults", "--base64-output=decode-rows", file)
	cmd.Env = append(os.Environ(), "TZ=UTC")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	log, err := parse(out, filepath.Base(file))
	if err != nil {
		_ = out.Close() // so that the tool ends
		_ = cmd.Wait()
		return nil, err
	}
	return log, cmd.Wait()
}

var (
	atOffset  = regexp.MustCompile(`^# at (\d+)$`)
	ofMariaDB = regexp.MustCompile(`^#(\d{6} [ \d]\d:\d\d:\d\d) server id .*\tGTID (\d+-\d+-\d+)`)
	ofMySQL   = regexp.MustCompile(`^SET @@SESSION.GTID_NEXT= '([^']+:\d+)'`)
	mysqlTime = regexp.MustCompile(`^# immediate_commit_timestamp=(\d+) `)
)

// parse reads what the tool prints of a file.
func parse(r io.Reader, file string) (log []Transaction, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 256<<20) // a statement can be one
	var offset, begins int64
	var at time.Time
	for lines.Scan() {
		line := lines.Text()
		if m := atOffset.FindStringSubmatch(line); m != nil {
			if offset, err = strconv.ParseInt(m[1], 10, 64); err != nil {
				return nil, err
			}
		} else if m := ofMariaDB.FindStringSubmatch(line); m != nil {
			if at, err = time.Parse("060102 15:04:05", strings.ReplaceAll(m[1], "  ", " 0")); err != nil {
				return nil, err
			}
			log = append(log, Transaction{GTID: m[2], File: file, Offset: offset, Time: at})
		} else if m := mysqlTime.FindStringSubmatch(line); m != nil {
			us, err := strconv.ParseInt(m[1], 10, 64)
			if err != nil {
				return nil, err
			}
			at, begins = time.UnixMicro(us).UTC(), offset
		} else if m := ofMySQL.FindStringSubmatch(line); m != nil {
			log = append(log, Transaction{GTID: m[1], File: file, Offset: begins, Time: at})
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read what the tool prints: %w", err)
	}
	return log, nil
}

// Position is the GTID position behind transactions, its parts in order.
func Position(log []Transaction) string {
	parts := map[string]string{}
	runs := map[string][]int{} // MySQL: the numbers of a source
	for _, l := range log {
		if i := strings.LastIndex(l.GTID, ":"); i >= 0 {
			n, _ := strconv.Atoi(l.GTID[i+1:])
			runs[l.GTID[:i]] = append(runs[l.GTID[:i]], n)
		} else {
			domain, _, _ := strings.Cut(l.GTID, "-")
			parts[domain] = l.GTID
		}
	}
	for source, numbers := range runs {
		parts[source] = source + intervals(numbers)
	}
	return strings.Join(slices.Sorted(maps.Values(parts)), ",")
}

// intervals writes numbers as MySQL does: :1-3:5.
func intervals(numbers []int) string {
	slices.Sort(numbers)
	text := ""
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		text += ":" + strconv.Itoa(numbers[i])
		if j > i {
			text += "-" + strconv.Itoa(numbers[j])
		}
		i = j + 1
	}
	return text
}
