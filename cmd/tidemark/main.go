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
	"tidemark/internal/config"
	"tidemark/storage"
	"tidemark/storage/azure"
	"tidemark/storage/cloud"
	"tidemark/storage/file"
	"tidemark/storage/gcs"
	"tidemark/storage/s3"
)

// version is set when a release is built.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(cli.Main(ctx, cli.Program{
		Version: version,
		Drivers: []cli.Driver{
			{Scheme: "file", Open: openFile},
			{Scheme: "s3", Open: cloudDriver(s3.Open)},
			{Scheme: "gs", Open: cloudDriver(gcs.Open)},
			{Scheme: "azblob", Open: cloudDriver(azure.Open)},
		},
		Args:    os.Args[1:],
		Environ: os.Environ(),
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		Clock:   clock.System{},
	}))
}

func openFile(_ context.Context, u *url.URL, _ config.Storage) (storage.Store, error) {
	return file.Open(u.Path)
}

// cloudDriver is the driver of an object storage, given the configuration's options.
func cloudDriver[S storage.Store](open func(context.Context, *url.URL, cloud.Options) (S, error)) func(context.Context, *url.URL, config.Storage) (storage.Store, error) {
	return func(ctx context.Context, u *url.URL, c config.Storage) (storage.Store, error) {
		o := cloud.Options{Endpoint: c.Endpoint, Region: c.Region, PathStyle: c.PathStyle, StorageClass: c.StorageClass, KMSKey: c.KMSKey}
		if c.SSE != config.SSEBucket {
			o.SSE = string(c.SSE)
		}
		if c.ObjectLock.Mode != config.LockOff {
			o.Lock = cloud.Lock{Mode: string(c.ObjectLock.Mode), For: c.ObjectLock.Retain}
		}
		return open(ctx, u, o)
	}
}
