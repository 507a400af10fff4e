package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"tidemark/internal/binlog"
)

// The result is one directory. What the primary keeps outside of its data directory lies in the target, and nothing in
// the target may lead out of it: else the private server would open the primary's own files where it runs on its host.

// linkFile is the suffix of the files in which InnoDB keeps where a table with DATA DIRECTORY is.
const linkFile = ".isl"

// forgetPlaces removes what says that files of the base backup lie elsewhere. They lie beside it.
func (r *run) forgetPlaces() error {
	r.elsewhere = false
	return filepath.WalkDir(r.work.target, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != linkFile {
			return err
		}
		r.elsewhere = true
		if err := r.FS.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// bringInside builds the tables anew that InnoDB's dictionary says were elsewhere, now that their files are here. MariaDB finds and
// uses them as they are, but crashes at the next statement that alters such a table without copying it (10.11.19,
// 11.8.9), in this restore or long after it.
func (m *mariadb) bringInside() error {
	if !m.run.elsewhere || m.run.resumed() {
		return nil
	}
	// Here a flag is all that is left of it: bit 6 of DICT_TF in storage/innobase/include/dict0mem.h of MariaDB.
	rows, err := m.conn.Query("SELECT name FROM information_schema.innodb_sys_tables WHERE flag & 64 ORDER BY name")
	if err != nil {
		return err
	}
	if err := m.conn.Exec("SET SESSION sql_mode='NO_DIR_IN_CREATE', innodb_strict_mode=OFF, foreign_key_checks=OFF, " +
		"check_constraint_checks=OFF, system_versioning_alter_history=KEEP"); err != nil {
		return err
	}
	done := map[string]bool{}
	for _, row := range rows {
		table, err := m.tableOf(row[0])
		if err != nil || table == "" || done[table] {
			if err != nil {
				return err
			}
			continue
		}
		done[table] = true
		m.run.Log.Info("a table that was outside of the data directory is built anew inside", zap.String("table", table))
		if err := m.conn.Exec("ALTER TABLE " + table + " FORCE, ALGORITHM=COPY"); err != nil {
			return err
		}
	}
	return m.conn.Exec("SET SESSION sql_mode=DEFAULT, innodb_strict_mode=DEFAULT, foreign_key_checks=DEFAULT, " +
		"check_constraint_checks=DEFAULT, system_versioning_alter_history=DEFAULT")
}

// tableOf returns the table to which one of InnoDB's belongs, which may be a partition of it: as it is written in a
// statement, or "" for what is no table of its own.
func (m *mariadb) tableOf(name string) (string, error) {
	db, table, _ := strings.Cut(name, "/")
	if i := strings.Index(strings.ToUpper(table), "#P#"); i > 0 {
		table = table[:i]
	}
	literal := func(s string) string {
		return "CONVERT(_filename'" + strings.ReplaceAll(s, "'", "''") + "' USING utf8mb4)"
	}
	rows, err := m.conn.Query("SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema=" + literal(db) +
		" AND table_name=" + literal(table))
	if err != nil || len(rows) == 0 {
		return "", err
	}
	return quote(rows[0][0]) + "." + quote(rows[0][1]), nil
}

// place makes the server put the tables that a batch creates into its data directory, or lets them be where their
// statements say. Of the modes that the log has recorded with a statement, NO_DIR_IN_CREATE is the one that a server that
// applies it takes from its own: it would be stored with each routine, trigger and event that is created under it, and
// only batches without any of these have it.
func (p *private) place(b *batch) error {
	if b.inside == p.inside {
		return nil
	}
	if p.mode == nil {
		mode, err := p.conn.Value("SELECT @@GLOBAL.sql_mode")
		if err != nil {
			return err
		}
		p.mode = &mode
	}
	mode := *p.mode
	if b.inside {
		mode = strings.TrimPrefix(mode+",NO_DIR_IN_CREATE", ",")
	}
	p.inside = b.inside
	return p.conn.Exec("SET GLOBAL sql_mode='" + mode + "'")
}

// beginInside gives a transaction a batch of its own, in which tables are created inside, when its event is of a statement
// that may name a directory for one.
func (f *feed) beginInside(ctx context.Context, ev *binlog.Event, body []byte, format *binlog.FormatDescription) error {
	if f.inside || !ev.First || !namesDirectory(ev.Type, body) {
		return nil
	}
	if f.file != nil && f.file.cut > f.file.head {
		if err := f.split(ctx, format); err != nil {
			return err
		}
	}
	if err := f.send(ctx); err != nil {
		return err
	}
	if f.fragile.first != "" {
		f.fragile.first = f.pending.String()
	}
	f.inside, f.now.inside = true, true
	return nil
}

// leniently returns an event of such a transaction as it is written for MariaDB: in strict mode that takes it for an error that a
// directory is ignored. What has succeeded on the primary in strict mode does the same in the other.
func (f *feed) leniently(ev *binlog.Event, body []byte, format *binlog.FormatDescription) (*binlog.Event, error) {
	if !ev.First || !ev.Last || !namesDirectory(ev.Type, body) {
		return ev, nil
	}
	data, err := binlog.RewriteLenient(ev.Data, format.Checksum)
	if err != nil {
		return nil, fmt.Errorf("transaction %s: %w", ev.GTID, err)
	}
	lenient := *ev
	lenient.Data = data
	return &lenient, nil
}

// namesDirectory reports whether an event is a statement that creates or alters a table, and may name a directory for it.
func namesDirectory(typ binlog.Type, body []byte) bool {
	compressed := typ == binlog.TypeQueryCompressed
	if !compressed && typ != binlog.TypeQuery {
		return false
	}
	db, text := queryText(body, 13, compressed)
	switch parse(db, text).verb {
	case "CREATE TABLE", "CREATE TEMPORARY TABLE", "ALTER TABLE":
	default:
		return false
	}
	// Of a compressed one only the beginning is known if it is long.
	return compressed && len(text) == keep || strings.Contains(strings.ToUpper(text), "DIRECTORY")
}
