package basebackup

import (
	"bytes"
	"context"
	"errors"
	"io"

	"tidemark/internal/catalog"
	"tidemark/internal/seal"
)

// copy lets the engine stream and stores the stream in parts, each sealed alone. The stream goes
// through pipes: the engine writes no faster than storage takes it.
func (t *taking) copy(ctx context.Context) (Info, error) {
	sealer, err := seal.New(seal.Options{Threads: t.o.Threads, Recipients: t.o.Recipients})
	if err != nil {
		return Info{}, err
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	pr, pw := io.Pipe()
	stop := func(err error) {
		cancel()
		pr.CloseWithError(err)
	}
	var info Info
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		info, failed = t.o.Engine.Stream(inner, &meter{w: pw, n: &t.report.plain})
		pw.CloseWithError(failed) // nil is io.EOF
	}()
	if err = t.store(inner, sealer, pr, stop); err != nil {
		stop(err)
	}
	<-done
	// When the engine failed, storing did too; when storing failed, the engine was cancelled.
	if failed != nil && (ctx.Err() != nil || !errors.Is(failed, context.Canceled)) {
		err = failed
	}
	return info, err
}

// store cuts a stream into parts and stores them. It calls stop as soon as storage fails: what is
// sealed is read until the stream ends.
func (t *taking) store(ctx context.Context, sealer *seal.Sealer, stream io.Reader, stop func(error)) error {
	for {
		// The end of the stream shows only when more is asked for.
		var first [1]byte
		if _, err := io.ReadFull(stream, first[:]); err == io.EOF && len(t.base.Parts) > 0 {
			return nil
		} else if err == io.EOF {
			return errors.New("the engine's stream is empty")
		} else if err != nil {
			return err
		}
		p := catalog.Part{Number: uint32(len(t.base.Parts) + 1)}
		key := catalog.PartKey(t.base.ID, p.Number, t.base.Engine) + sealer.Suffix()
		t.keys = append(t.keys, key)
		plain := io.MultiReader(bytes.NewReader(first[:]), io.LimitReader(stream, t.o.PartSize-1))
		r, err := sealer.Seal(ctx, plain, func(ctx context.Context, r io.Reader) error {
			err := t.o.Catalog.Upload(ctx, key, io.TeeReader(r, &meter{w: io.Discard, n: &t.report.stored}))
			if err != nil {
				stop(err)
			}
			return err
		})
		if err != nil {
			return err
		}
		p.PlainBytes, p.PlainSHA256 = r.PlainBytes, r.PlainSHA256
		p.Stored = catalog.StoredAs(key, sealer, r)
		t.base.Parts = append(t.base.Parts, p)
		t.base.PlainBytes += p.PlainBytes
	}
}
