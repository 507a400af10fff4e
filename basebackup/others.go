package basebackup

import (
	"errors"
	"fmt"
	"hash"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"tidemark/internal/fault"
	"tidemark/internal/xbstream"
)

// mariadb-backup copies the tables of MyISAM and the like when new statements can no longer write to them, but those
// under way still do, and tables can still be optimized, repaired, truncated and renamed. What it does not
// notice, or takes for copied because the definition is the same, is torn or lacks a file. Tables of Aria it
// copies while they are written to, and Aria's log makes that good; not if they were optimized or repaired meanwhile.
//
// When nothing can change these tables any more, the server's data directory is the truth, and its log of
// definitions tells what was done since the copy began.

// others follows the files of tables that are not InnoDB's through a copy.
type others struct {
	datadir string
	except  []string // directories in it that are no databases
	seed    maphash.Seed

	copied  map[string]*sum // by the stream, of tables that are not Aria's either
	renames renames         // by the stream, of tablespaces

	flushed map[string]stamp // when the copy of them began
	blocked map[string]stamp // when nothing could change any more
	files   []string         // then, of all databases
	redone  []string         // tables of Aria that were optimized or repaired
	changed map[string]*sum  // then, of those that had changed meanwhile
	summing sync.WaitGroup
	err     error
}

// stamp is what changes when a file is written to.
type stamp struct {
	size  int64
	mtime time.Time
}

// sum is that of a file's bytes.
type sum struct {
	hash   hash.Hash64
	size   uint64
	index  bool // of MyISAM
	broken bool // the bytes did not come in order
}

func newOthers(datadir string, except []string) *others {
	return &others{datadir: datadir, except: except, seed: maphash.MakeSeed(), copied: map[string]*sum{}, renames: renames{}, changed: map[string]*sum{}}
}

// line looks at a line of the tool's log.
func (o *others) line(s string) {
	switch {
	case o.err != nil:
	case strings.HasSuffix(s, "Acquired locks for BACKUP STAGE FLUSH"):
		o.flushed, o.err = o.stamps()
	case strings.HasSuffix(s, "Acquired locks for BACKUP STAGE BLOCK_DDL"):
		if o.blocked, o.err = o.stamps(); o.err != nil {
			return
		}
		if o.files, o.err = databaseFiles(o.datadir, o.except); o.err != nil {
			return
		}
		if o.redone, o.err = redone(filepath.Join(o.datadir, "ddl.log")); o.err != nil {
			return
		}
		o.summing.Go(o.read) // the log goes on
	}
}

// settle waits until nothing is read any more. Where the tool did not say when definitions were blocked, the databases are as
// they are now.
func (o *others) settle() {
	o.summing.Wait()
	if o.err == nil && o.blocked == nil {
		o.files, o.err = databaseFiles(o.datadir, o.except)
	}
}

// stamps returns those of the files of each table.
func (o *others) stamps() (map[string]stamp, error) {
	dirs, err := os.ReadDir(o.datadir)
	if err != nil {
		return nil, err
	}
	all := map[string]stamp{}
	for _, dir := range dirs {
		files, err := os.ReadDir(filepath.Join(o.datadir, dir.Name()))
		if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue // no database, or none that can be copied either, as lost+found
		}
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			path := filepath.Join(dir.Name(), file.Name())
			if !followed(path) {
				continue
			}
			info, err := os.Stat(filepath.Join(o.datadir, path)) // a link leads to the file
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			all[path] = stamp{info.Size(), info.ModTime()}
		}
	}
	return all, nil
}

// otherFiles are those of the engines Aria, MyISAM, MERGE, ARCHIVE and CSV.
var otherFiles = []string{ariaIndex, ariaData, myisamIndex, ".MYD", ".MRG", ".ARM", ".ARZ", ".CSM", ".CSV"}

const (
	ariaData    = ".MAD"
	myisamIndex = ".MYI"
)

// followed says whether a file is one of a table that must not change while it is copied, or after. Tables of logs and
// statistics are copied in the very end, and an ALTER TABLE's new table is there under its own name later.
func followed(path string) bool {
	db, file := filepath.Split(path)
	ext := filepath.Ext(file)
	if !slices.Contains(otherFiles, ext) || strings.HasPrefix(file, "#sql") {
		return false
	}
	return db != "mysql/" || !slices.Contains([]string{"general_log", "slow_log", "table_stats", "column_stats", "index_stats"}, strings.TrimSuffix(file, ext))
}

// ofAria says whether Aria's log makes good what changes in a file.
func ofAria(path string) bool {
	return strings.HasSuffix(path, ariaIndex) || strings.HasSuffix(path, ariaData)
}

// redone returns the tables of Aria that were optimized or repaired, or their indexes made anew, by the server's log of
// definitions: a line of fields with tabs between, of which the second to the sixth are what was done,
// the engine, whether it is partitioned, the database and the table.
func redone(log string) ([]string, error) {
	data, err := os.ReadFile(log)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // not all versions have it
	}
	var names []string
	for line := range strings.Lines(string(data)) {
		f := strings.Split(line, "\t")
		if len(f) < 6 || f[2] != "Aria" {
			continue
		}
		if name := f[4] + "/" + f[5]; slices.Contains([]string{"repair", "optimize", "change_index"}, strings.ToLower(f[1])) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, err
}

// content sums the bytes of a file of the stream.
func (o *others) content(path string, p []byte, at uint64) {
	o.renames.content(path, p)
	if !followed(path) || ofAria(path) {
		return
	}
	if at == 0 || o.copied[path] == nil {
		o.copied[path] = o.newSum(path)
	}
	o.copied[path].add(p, at)
}

// read sums the bytes of the server's files that have changed since the copy of them began.
func (o *others) read() {
	for path, now := range o.blocked {
		if before, known := o.flushed[path]; o.flushed == nil || ofAria(path) || known && before == now {
			continue
		}
		f, err := os.Open(filepath.Join(o.datadir, path))
		if err != nil {
			continue // it has changed anyway
		}
		s := o.newSum(path)
		if _, err := io.Copy(s, f); err == nil {
			o.changed[path] = s
		}
		_ = f.Close()
	}
}

func (o *others) newSum(path string) *sum {
	s := &sum{hash: new(maphash.Hash), index: strings.HasSuffix(path, myisamIndex)}
	s.hash.(*maphash.Hash).SetSeed(o.seed)
	return s
}

// Bytes in the head of an index of MyISAM that tell by how many sessions it is open and whether anything has changed since, by
// storage/myisam/mi_open.c of MariaDB. They change when a table that was read is closed.
const (
	myisamOpen  = 24
	myisamState = myisamOpen + 3
)

func (s *sum) add(p []byte, at uint64) {
	s.broken = s.broken || at != s.size
	if s.index && at < myisamState {
		p = slices.Clone(p)
		for k := max(at, myisamOpen); k < min(myisamState, at+uint64(len(p))); k++ {
			p[k-at] = 0
		}
	}
	_, _ = s.hash.Write(p)
	s.size += uint64(len(p))
}

// Write sums the bytes that come next.
func (s *sum) Write(p []byte) (int, error) {
	s.add(p, s.size)
	return len(p), nil
}

// same says whether the copied bytes are those of the server.
func (o *others) same(path string) bool {
	a, b := o.copied[path], o.changed[path]
	if a == nil && b != nil {
		return b.size == 0 // no bytes came of an empty file
	}
	return a != nil && b != nil && !a.broken && a.size == b.size && a.hash.Sum64() == b.hash.Sum64()
}

// check returns the tables of which a whole copy differs from what was seen, once that is settled.
func (o *others) check(stream *xbstream.Inspector) (torn []string, err error) {
	if o.err != nil {
		return nil, fmt.Errorf("look at the files of tables: %w", o.err)
	}
	for path, now := range o.blocked {
		there, again := stream.Has(path)
		switch before, known := o.flushed[path]; {
		case !there: // among all files
		case o.flushed == nil || again || ofAria(path) || known && before == now || o.same(path):
		default:
			torn = append(torn, path)
		}
	}
	return torn, nil
}

// torn is the error of a copy with tables that were written to while they were copied.
func (m *MariaDB) torn(j *job, files []string) error {
	return fault.New(fault.Integrity, "copy the server with", j.tool, errors.New("the copy was made while these were written to: "+some(files, ""))).
		WithHint("mariadb-backup copies tables of MyISAM and the like wrongly that a long statement writes to, or that are optimized, repaired or truncated, " +
			"meanwhile. Take the backup again, at a time when that is not done, or make them tables of InnoDB.")
}
