package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"tidemark/internal/catalog"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
)

type catOptions struct {
	cluster  string
	timeline uint32
	from, to string
	output   string
	identity string
}

func (a *app) newCat() *cobra.Command {
	var o catOptions
	cmd := &cobra.Command{
		Use:   "cat [CLUSTER]",
		Short: "Write the archived binary log as plain files",
		Long: `Rebuild the server's binlog files from the archive, for mariadb-binlog and other tools. A file that
was archived from its beginning is the server's own, byte for byte, but for the flag that says that it
is in use; one that was archived from its middle on gets a head that makes it readable.

--from and --to name a segment (its number), a transaction (its GTID) or a source file (its name);
the segments that hold them are included whole. All bytes are checked. With --output DIR each file is
written there under its own name, and nothing is ever written over; a second file of the same name,
as after RESET MASTER, gets .2 behind it. Without it, or with --output -, the selection must be of one
file, which goes to standard output.` + exits(fault.NoArchive, fault.WrongKey, fault.Unreachable, fault.Integrity, fault.Storage, fault.Config, fault.TargetNotEmpty),
		Example: `  tidemark cat shop --output /tmp/binlogs
  tidemark cat shop --from binlog.000012 --to binlog.000012 | mariadb-binlog --verbose -
  tidemark cat shop --from 0-1-34103 --to 0-1-34200 --output /tmp/binlogs
  tidemark cat shop --from 1b4e28ba-2fa1-11d2-883f-0016d3cca427:34103 --output /tmp/binlogs`,
		Args: clusterArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.cluster = first(args)
			r, err := a.runCat(cmd.Context(), o)
			if r == nil {
				return err
			}
			return a.print(r, err)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.from, "from", "", "first `segment`, GTID or source file (default the first segment)")
	f.StringVar(&o.to, "to", "", "last `segment`, GTID or source file (default the last segment)")
	f.StringVar(&o.output, "output", "", "`directory` to write files to, or - for standard output")
	f.Uint32Var(&o.timeline, "timeline", 0, "`number` of the timeline (default the newest)")
	identityFlag(cmd, &o.identity)
	return cmd
}

type catResult struct {
	Directory string     `json:"directory"`
	Files     []*catFile `json:"files"`
	Bytes     int64      `json:"bytes"`
}

func (a *app) runCat(ctx context.Context, o catOptions) (*catResult, error) {
	cfg, cat, err := a.catalog(ctx, o.cluster)
	if err != nil {
		return nil, err
	}
	if err := unlock(cfg, o.identity, cat); err != nil {
		return nil, err
	}
	segments, err := selectSegments(ctx, cat, o)
	if err != nil {
		return nil, err
	}
	for _, s := range segments {
		if err := cat.CanOpen(s.Stored); err != nil {
			return nil, err
		}
	}
	files := sourceFiles(segments)
	if o.output != "" && o.output != "-" {
		return a.writeFiles(ctx, cat, o.output, files)
	}
	switch {
	case a.json:
		return nil, usage("with --json the files need a directory: --output DIR", "tidemark cat")
	case len(files) > 1:
		return nil, usage(fmt.Sprintf("the selection has %d files: write them to a directory with --output DIR, or choose one with --from and --to", len(files)), "tidemark cat")
	case isTerminal(a.Stdout):
		return nil, usage("a binlog is no text for a terminal: use --output DIR, or a pipe", "tidemark cat")
	}
	_, err = files[0].copy(ctx, cat, a.Stdout, func(int64) {})
	return nil, err
}

// writeFiles writes each file into dir, which is made where it is not there.
func (a *app) writeFiles(ctx context.Context, cat *catalog.Catalog, dir string, files []*catFile) (*catResult, error) {
	fsys := durable.OS{}
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = durable.MkdirAll(fsys, dir)
	}
	if err != nil {
		return nil, fault.New(fault.Other, "make the directory", "", err)
	}
	for _, f := range files {
		if _, err := fsys.Stat(filepath.Join(dir, f.Name)); !errors.Is(err, fs.ErrNotExist) {
			return nil, exists(filepath.Join(dir, f.Name), err)
		}
	}
	r := &catResult{Directory: dir, Files: files}
	p := a.progress()
	defer p.done()
	var all int64
	for _, f := range files {
		all += f.size()
	}
	for _, f := range files {
		f.Bytes, err = writeNew(fsys, filepath.Join(dir, f.Name), func(w io.Writer) (int64, error) {
			return f.copy(ctx, cat, w, func(n int64) {
				done := r.Bytes + n
				p.show(fmt.Sprintf("cat %s: %s, %s of %s", f.Name, percent(done, all), size(done), size(all)),
					map[string]any{"file": f.Name, "bytes": done, "all_bytes": all})
			})
		})
		if err != nil {
			return nil, err
		}
		r.Bytes += f.Bytes
	}
	return r, nil
}

func exists(path string, err error) error {
	if err == nil {
		err = fs.ErrExist
	}
	return fault.New(fault.TargetNotEmpty, "write", path, err).WithHint("Choose an empty directory with --output: no file is ever written over.")
}

// writeNew writes a file that must not exist yet. When it returns nil the file is durable; after an
// error there is none.
func writeNew(fsys durable.FS, path string, fill func(io.Writer) (int64, error)) (int64, error) {
	file, err := fsys.Create(path)
	if errors.Is(err, fs.ErrExist) {
		return 0, exists(path, err)
	}
	if err != nil {
		return 0, fault.New(fault.Other, "write", "", err)
	}
	n, err := fill(file)
	if err == nil {
		err = file.Sync()
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fsys.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		_ = fsys.Remove(path)
	}
	return n, err
}

func (r *catResult) text(t *text) {
	var rows [][]string
	for _, f := range r.Files {
		note := ""
		switch {
		case f.Name != f.Source:
			note = "another file called " + f.Source
		case !f.FromStart:
			note = "without its beginning"
		}
		rows = append(rows, []string{f.Name, fmt.Sprintf("%d-%d", f.FirstSegment, f.LastSegment), fmt.Sprintf("%d-%d", f.Start, f.End), size(f.Bytes), note})
	}
	t.line("%s written to %s", counted(len(r.Files), "file"), r.Directory)
	t.table([]string{"file", "segments", "source bytes", ">size", "note"}, rows)
}
