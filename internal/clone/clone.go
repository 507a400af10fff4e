// Package clone copies a running MySQL server through the protocol of its clone plugin, as another
// server would that clones it, but keeps what comes as a stream instead of a data directory. No
// server takes part on our side, and nothing is written to local disk.
//
// Copy speaks to the donor and writes the stream: what the donor describes and the bytes it sends, in
// their order, in records that are checked (see format.go and docs/format.md). Extract makes a data
// directory of a stream. Both follow the copy with the same layout, so that a stream which Extract
// would refuse is refused when it is taken, as long as there is a server to take another one from.
//
// A copy goes through states: all files are copied while the server goes on, then the pages that were
// changed meanwhile, then the redo log that was written meanwhile. The copy is as of its end.
package clone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"tidemark/internal/clock"
)

// Options of a copy. All but Silence must be set.
type Options struct {
	// Data and Ack are two sessions with the donor, authenticated, with nothing under way. The copy
	// comes through the one; the other says when a state is over. Both are closed in the end.
	Data, Ack net.Conn
	Clock     clock.Clock
	// Silence is how long the donor may say nothing; 0: DefaultSilence.
	Silence time.Duration
}

// DefaultSilence is longer than the donor itself waits for a DDL statement before it gives up.
const DefaultSilence = ddlTimeout + 2*time.Minute

// Totals is what a copy consists of.
type Totals struct {
	Files uint64 // data files of the finished copy
	Bytes uint64 // of pages and redo log that were sent

	Protocol string // that the donor spoke, "1.3"; of Copy
}

// Copy copies the donor and writes the stream to w. Only with a nil error is the stream whole. The
// error is the context's if that ended, and a *DonorError if the donor refused or gave up.
func Copy(ctx context.Context, o Options, w io.Writer) (Totals, error) {
	if o.Silence <= 0 {
		o.Silence = DefaultSilence
	}
	hangUp := func() {
		_ = o.Data.Close()
		_ = o.Ack.Close()
	}
	defer hangUp()
	release := context.AfterFunc(ctx, hangUp)
	defer release()
	d := &donor{data: newLink(o.Data, o), ack: newLink(o.Ack, o), layout: newLayout()}
	err := d.copy(newWriter(w), o.Clock)
	if ctx.Err() != nil {
		return Totals{}, ctx.Err()
	}
	if err != nil {
		return Totals{}, err
	}
	protocol := fmt.Sprintf("%d.%d", d.protocol>>8, d.protocol&0xff)
	return Totals{Files: d.layout.count(), Bytes: d.layout.bytes, Protocol: protocol}, nil
}

// DonorError is what the donor says of its failure.
type DonorError struct {
	Code    uint32
	Message string
}

// Error renders code and message.
func (e *DonorError) Error() string { return fmt.Sprintf("error %d: %s", e.Code, e.Message) }

// errCut says that the donor ended a connection, which it does when it is shut down or killed.
var errCut = errors.New("the server closed the connection in the middle of the copy")
