// Package archive tests the way of the binlog from a real server into an archive.
package archive

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/integration/kit/workload"
	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/config"
	"tidemark/internal/daemon"
	"tidemark/internal/durable"
	"tidemark/storage"
	"tidemark/storage/file"
)

// TestStream archives a server under load in process and finds the server's own files in the archive.
func TestStream(t *testing.T) {
	kit.Each(t, servertest.MariaDB, kit.Servers(1), stream, "mariadb-binlog")
}

func stream(t *testing.T, b servertest.Binaries) {
	w := kit.New(t, kit.Setup{Binaries: b, Options: []string{"--max-binlog-size=4M"},
		Cluster: []string{"segment: {max_age: 1s, max_size: 2MiB}"}})
	remains := filepath.Join(w.Dir, "archive", "shop", ".tmp~REMAINS") // of a run that was killed two days ago
	old := time.Now().Add(-48 * time.Hour)
	err := errors.Join(os.MkdirAll(filepath.Dir(remains), 0o700), os.WriteFile(remains, nil, 0o600), os.Chtimes(remains, old, old))
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Source{File: w.Config, Schemes: []string{"file"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- daemon.Run(ctx, daemon.Options{Config: cfg, Log: zaptest.NewLogger(t), Version: "test", Clock: clock.System{}, FS: durable.OS{},
			OpenStore: func(context.Context, string) (storage.Store, error) {
				return file.Open(filepath.Join(w.Dir, "archive"))
			}})
	}()

	load := workload.New(1, workload.Options{Domains: 2, MaxBlob: 4 << 20, BigTransaction: 6 << 20})
	if err := load.Setup(w.Server.Conn()); err != nil {
		t.Fatal(err)
	}
	if err := load.Run(ctx, w.Dial, 4, 2500); err != nil {
		t.Fatal(err)
	}
	w.Server.Rotate()
	end, _ := w.Server.LogEnd()
	cat := catalogOf(w)
	kit.Until(t, time.Minute, "all is archived", func() bool {
		last, err := cat.Last(ctx, 1)
		return err == nil && last.Source.File == end
	})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(remains); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the remains of an interrupted write are there: %v", err)
	}
	compare(w)
	standardTools(t, b, filepath.Join(w.Dir, "archive"))
}

// standardTools reads segments as the format promises: with zstd and mariadb-binlog alone.
func standardTools(t *testing.T, bins servertest.Binaries, archive string) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(archive, "shop/log/00000001/*.binlog.zst"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("no segments: %v", err)
	}
	for _, s := range segments[:min(len(segments), 8)] {
		if _, err := kit.ReadSegment(bins, s); err != nil {
			t.Error(err)
		}
	}
}

// catalogOf is that of the archive of a world.
func catalogOf(w *kit.World) *catalog.Catalog {
	w.T.Helper()
	store, err := file.Open(filepath.Join(w.Dir, "archive"))
	if err != nil {
		w.T.Fatal(err)
	}
	cat, err := catalog.Open(w.T.Context(), store, "shop", "test")
	if err != nil {
		w.T.Fatal(err)
	}
	return cat
}

// compare puts the archived segments one behind the other, so that each byte must be there once, and compares
// the files which that gives with the server's own.
func compare(w *kit.World) {
	w.T.Helper()
	ctx, cat := w.T.Context(), catalogOf(w)
	files := map[string][]byte{}
	var segments, transactions uint64
	for s, err := range cat.Segments(ctx, 1, 0) {
		if err != nil {
			w.T.Fatal(err)
		}
		segments++
		transactions += s.Transactions
		r, err := cat.OpenPlain(ctx, s)
		if err != nil {
			w.T.Fatal(err)
		}
		var plain bytes.Buffer
		if _, err := plain.ReadFrom(r); err != nil {
			w.T.Fatal(err)
		}
		r.Close()
		if files[s.Source.File] == nil {
			files[s.Source.File] = plain.Bytes()
		} else {
			files[s.Source.File] = append(files[s.Source.File], plain.Bytes()[s.HeadBytes:]...)
		}
	}
	w.T.Logf("%d segments, %d transactions, %d files", segments, transactions, len(files))
	rows := w.Server.Query("SHOW BINARY LOGS")
	for i, row := range rows {
		got := files[row[0]]
		n, err := kit.SameFile(bytes.NewReader(got), filepath.Join(w.Server.Datadir, row[0]), i == len(rows)-1)
		if err != nil || len(got) == 0 {
			w.T.Errorf("%s: %d bytes archived, %d compared: %v", row[0], len(got), n, err)
		}
	}
}
