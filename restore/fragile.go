package restore

import (
	"context"

	"tidemark/internal/binlog"
)

// A restore cannot be resumed exactly when its server dies with transactions in hand that are not atomic
// (see binlog.Atomic). So these get fragile batches: the batch before ends where the first of them begins,
// and a fragile one ends when so many bytes have come after the last of them. They are that many because
// the server takes 10 to 25 ms to change from one batch to the next, and at its fastest, on one-row
// transactions, 60 ms to apply so much. A log that is full of such transactions takes no longer at all, and
// one where they are just so far apart, at worst, two thirds longer.
const calm = 1 << 20

// fragile says whether what is being written is a fragile batch, and where the last transaction is that
// makes it so.
type fragile struct {
	first string // of those transactions; "" in a batch without
	last  int64  // bytes written up to the last of them
}

// over reports whether a fragile batch ends at a boundary, with so many bytes written.
func (g *fragile) over(written int64) bool { return g.first != "" && written >= g.last+calm }

// beginFragile makes the batch a fragile one from the open transaction on.
func (f *feed) beginFragile(ctx context.Context, format *binlog.FormatDescription) error {
	f.fragile.last = f.written()
	if f.fragile.first != "" {
		return nil
	}
	if f.file != nil && f.file.cut > f.file.head {
		if err := f.split(ctx, format); err != nil {
			return err
		}
	}
	err := f.send(ctx)
	f.fragile.first = f.pending.String()
	return err
}

// endFragile ends a fragile batch.
func (f *feed) endFragile(ctx context.Context) error {
	if err := f.endFile(ctx); err != nil {
		return err
	}
	f.fragile.first = ""
	return f.send(ctx)
}
