package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"tidemark/integration/kit"
	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/verify"
	"tidemark/restore"
	"tidemark/storage"
	"tidemark/storage/file"
)

// benchCatalog lists, plans a restore from, and verifies an archive of very many segments, and counts the
// requests that this takes.
func benchCatalog(args []string) error {
	fs := flag.NewFlagSet("catalog", flag.ContinueOnError)
	n := fs.Int("segments", 100_000, "segments in the archive")
	index := fs.Bool("index", true, "with index objects")
	kept := fs.String("archive", "", "directory of the archive, which is kept; made if it is not there")
	if err := fs.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tidemark-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tool, err := kit.Build()
	if err != nil {
		return err
	}
	archive := filepath.Join(dir, "archive")
	if *kept != "" {
		archive = *kept
	}
	if _, err := os.Stat(archive); err != nil {
		fmt.Printf("making %d segments\n", *n)
		if err := makeArchive(archive, *n, *index); err != nil {
			return err
		}
	}
	fmt.Printf("\n%-20s %8s %8s %8s\n", "", "wall", "CPU", "memory")
	for _, verb := range [][]string{{"list"}, {"restore", "--dry-run", "--target-dir", filepath.Join(dir, "target")}, {"verify"}} {
		cmd := exec.Command(tool, append(verb, "shop", "--archive", "file://"+archive, "--quiet")...)
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(verb, " "), err, out)
		}
		s := cmd.ProcessState
		fmt.Printf("%-20s %6.1f s %6.1f s %4d MiB\n", strings.Join(verb[:min(2, len(verb))], " "), time.Since(began).Seconds(),
			(s.UserTime() + s.SystemTime()).Seconds(), maxRSS(s))
	}
	return requests(archive)
}

// requests counts what an object storage would be asked for: it lists a thousand objects a request.
func requests(archive string) error {
	ctx := context.Background()
	store, err := file.Open(archive)
	if err != nil {
		return err
	}
	fmt.Printf("\nrequests to an object storage\n")
	for _, what := range []struct {
		name string
		do   func(*catalog.Catalog) error
	}{
		{"list", func(c *catalog.Catalog) error { _, err := c.Overview(ctx, nil); return err }},
		{"restore --dry-run", func(c *catalog.Catalog) error {
			_, err := restore.MakePlan(ctx, c, restore.PlanOptions{Target: restore.ToLatest()})
			return err
		}},
		{"verify", func(c *catalog.Catalog) error {
			_, err := verify.Run(ctx, c, verify.Options{Clock: clock.System{}})
			return err
		}},
	} {
		var mu sync.Mutex
		asked := map[string]int{}
		counted := storage.Faulty(store, func(op, key string) error {
			mu.Lock()
			defer mu.Unlock()
			asked[op]++
			return nil
		})
		c, err := catalog.Open(ctx, counted, "shop", "bench")
		if err != nil {
			return err
		}
		if err := what.do(c); err != nil {
			return err
		}
		asked["list"] += asked["next"] / 1000 // further pages
		delete(asked, "next")
		delete(asked, "read")
		fmt.Printf("%-20s", what.name)
		for _, op := range slices.Sorted(maps.Keys(asked)) {
			fmt.Printf(" %d %s", asked[op], op)
		}
		fmt.Println()
	}
	return nil
}
