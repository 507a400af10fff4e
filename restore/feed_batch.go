package restore

import (
	"context"

	"tidemark/internal/gtid"
)

// batch is what the server gets at a time.
type batch struct {
	files        []staged
	bytes        int64
	transactions uint64            // of all batches up to this one
	position     *gtid.State       // when all of them are applied
	end          checkpoint        // then
	fragile      string            // from this transaction on they are not all atomic; "" if they are
	inside       bool              // tables are created in the data directory, whatever their statements say
	variables    map[string]string // of the server that wrote it, where they differ from those of the batch before; nil: they do not
	notes        []string          // what is to be said of it
	doubtful     []string          // XA transactions that the primary may have lost
	threads      int               // that apply it
}

// mostFiles is how many files a batch may have: each costs the server a flush.
const mostFiles = 64

// endFile hands the file that is being written to the batch; the batch goes first if it is full.
func (f *feed) endFile(ctx context.Context) error {
	if f.file == nil {
		return nil
	}
	s, err := f.file.end()
	f.file = nil
	if err == nil {
		err = f.user.Own(s.path)
	}
	if err != nil {
		return err
	}
	if len(f.now.files) > 0 && (f.now.bytes+s.size > f.batchLimit() || len(f.now.files) == mostFiles) {
		if err := f.send(ctx); err != nil {
			return err
		}
	}
	f.now.files = append(f.now.files, s)
	f.now.bytes += s.size
	f.bytes += s.size
	f.now.transactions, f.now.position, f.now.fragile = f.applied, f.pos.Clone(), f.fragile.first
	f.now.end, f.now.doubtful = f.checkpoint(), f.xids.doubtfulXIDs()
	select {
	case f.batches <- f.now: // nobody waits for a full batch
		f.begin()
	default:
	}
	return nil
}

// limit is the size at which the file being written ends. The first ones are small, so that the
// server begins early.
func (f *feed) limit() int64 { return min(f.fileBytes, 2<<20<<min(f.files, 8)) }

// batchLimit is the size of a batch, unless a single file is larger. The first ones are small: each of them
// measures another number of appliers, of which some may be several times as slow as the best.
func (f *feed) batchLimit() int64 { return min(f.batchBytes, 2<<20<<min(f.sent, 16)) }

// send waits until the batch is taken.
func (f *feed) send(ctx context.Context) error {
	if len(f.now.files) == 0 {
		return nil
	}
	select {
	case f.batches <- f.now:
		f.begin()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin begins the next batch.
func (f *feed) begin() {
	f.now = new(batch)
	f.sent++
}

// next returns the next batch; nil at the end.
func (f *feed) next(ctx context.Context) (*batch, error) {
	select {
	case b, ok := <-f.batches:
		if !ok {
			return nil, f.err
		}
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
