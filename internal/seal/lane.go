package seal

import (
	"context"
	"iter"

	"tidemark/internal/ordered"
)

// piece is what is worked on: in becomes out.
type piece struct {
	in, out []byte
	err     error
}

// lane works on the pieces of a stream, several at a time, and yields them in their order; behind the last one
// what fill has ended with. fill reads the next piece, one after the other, until it returns an error, as
// io.EOF; work is done by so many threads. A piece is the consumer's until it asks for the next: its memory is
// used again.
func lane(threads int, fill func(*piece) error, work func(*piece)) iter.Seq2[*piece, error] {
	pieces := make([]piece, threads+2) // one is being filled, and one is in the hand of the consumer
	var end error
	filled := func(yield func(*piece) bool) {
		for i := 0; ; i++ {
			p := &pieces[i%len(pieces)]
			p.err = nil
			if end = fill(p); end != nil || !yield(p) {
				return
			}
		}
	}
	return func(yield func(*piece, error) bool) {
		for p := range ordered.Map(context.Background(), len(pieces), filled, func(_ context.Context, p *piece) *piece {
			work(p)
			return p
		}) {
			if !yield(p, p.err) {
				return
			}
		}
		yield(nil, end)
	}
}
