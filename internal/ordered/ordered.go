// Package ordered works on several items of a sequence at the same time and yields what they become in
// the order in which they came.
package ordered

import (
	"context"
	"iter"
)

// Map yields do of each item of in, in order. At most n items are held at a time: being worked on, waiting
// for their turn, or in the hands of the consumer, who lets go of one by asking for the next; only then
// another one is taken from in. So n buffers, used in turn, are enough for all items.
//
// It ends with in, or early, without a word, when ctx does. When it has ended, as when the consumer has
// stopped, neither in nor any do is running; the context of do ends with it.
func Map[In, Out any](ctx context.Context, n int, in iter.Seq[In], do func(context.Context, In) Out) iter.Seq[Out] {
	return func(yield func(Out) bool) {
		ctx, cancel := context.WithCancel(ctx)
		room := make(chan struct{}, n) // holds a token for each item
		queue := make(chan chan Out, n)
		defer func() {
			cancel()
			for out := range queue {
				<-out
			}
		}()
		go func() {
			defer close(queue)
			room <- struct{}{}
			for item := range in {
				out := make(chan Out, 1)
				go func() { out <- do(ctx, item) }()
				queue <- out
				select {
				case room <- struct{}{}:
				case <-ctx.Done():
					return
				}
			}
		}()
		for out := range queue {
			if v := <-out; ctx.Err() != nil || !yield(v) {
				return
			}
			<-room // of this item: it was put before the item was taken
		}
	}
}
