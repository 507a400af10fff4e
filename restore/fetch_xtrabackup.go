package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tidemark/internal/xbstream"
)

// layOutXtraBackup makes the target the data directory that a copy by xtrabackup holds.
func (r *run) layOutXtraBackup(ctx context.Context) error {
	if err := r.phase(Fetch, func() error { return r.fetchXtraBackup(ctx) }); err != nil {
		return err
	}
	return r.phase(Prepare, func() error {
		if err := r.prepare(ctx); err != nil {
			return err
		}
		return r.removeBinlog()
	})
}

// fetchXtraBackup reads the parts in order and writes their files into the target.
func (r *run) fetchXtraBackup(ctx context.Context) error {
	err := r.unpack(ctx, func(in io.Reader) error {
		_, err := xbstream.Extract(ctx, in, r.work.target, r.FS)
		return err
	})
	if err != nil {
		return err
	}
	return r.checkExtracted()
}

// removeBinlog removes the source's last binlog and the list of it, which xtrabackup copies too. What is
// restored behind it is in no binlog, and a server that found it would take up the source's file names.
func (r *run) removeBinlog() error {
	name := r.plan.base.Source.File
	lists, err := r.FS.ReadDir(r.work.target, func(e fs.DirEntry) bool { return strings.HasSuffix(e.Name(), ".index") })
	if err != nil {
		return err
	}
	gone := []string{filepath.Join(r.work.target, filepath.Base(name))}
	for _, e := range lists {
		path := filepath.Join(r.work.target, e.Name())
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if filepath.Base(strings.TrimSpace(string(text))) == name {
			gone = append(gone, path)
		}
	}
	for _, path := range gone {
		if err := r.FS.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the copied binlog: %w", err)
		}
	}
	return nil
}

// purge tells the server which transactions the data of a copy by xtrabackup holds. Their GTIDs reach the
// server's own table late, and preparing a copy does not bring them there. What it has executed since, in
// an earlier attempt, stays. A clone is complete in this.
func (m *mysql) purge() error {
	b := m.run.plan.base
	if b.Engine != engineXtraBackup {
		return nil
	}
	at, err := m.position()
	if err != nil {
		return err
	}
	held, err := parsePosition(b.Flavor, b.PositionMax.GTID)
	if err != nil {
		return err
	}
	missing := held.Set().Clone()
	missing.Subtract(at.Set())
	if missing.Empty() {
		return nil
	}
	return m.conn.Exec(fmt.Sprintf("SET GLOBAL gtid_purged='+%s'", missing))
}
