// Command tidemark archives the binary log of database servers continuously and restores them to any
// point in time.
package main

import (
	"context"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"tidemark/internal/cli"
	"tidemark/internal/clock"
	"tidemark/storage"
	"tidemark/storage/file"
)

// version is set when a release is built.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(cli.Main(ctx, cli.Program{
		Version: version,
		Drivers: []cli.Driver{{Scheme: "file", Open: openFile}},
		Args:    os.Args[1:],
		Environ: os.Environ(),
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		Clock:   clock.System{},
	}))
}

func openFile(_ context.Context, u *url.URL) (storage.Store, error) { return file.Open(u.Path) }
