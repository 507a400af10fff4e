package seal

// lane works on the pieces of a stream, several at a time, and yields them in their order. Its memory is
// that of the pieces.
type lane struct {
	queue chan *piece // in order; closed behind the last one
	free  chan *piece
	quit  chan struct{}
	end   error // what fill has ended with, when queue is closed
}

// piece is what is worked on: in becomes out.
type piece struct {
	in, out []byte
	err     error
	done    chan struct{} // closed when out or err is there
}

// newLane starts as many workers as there are threads. fill reads the next piece, one after the other, until it
// returns an error, as io.EOF; work is done at the same time on several.
func newLane(threads int, fill func(*piece) error, work func(*piece)) *lane {
	n := threads + 2 // one is being filled, and one is in the hand of the reader
	l := &lane{queue: make(chan *piece, n), free: make(chan *piece, n), quit: make(chan struct{})}
	for range n {
		l.free <- &piece{}
	}
	go func() {
		defer close(l.queue)
		for {
			var p *piece
			select {
			case p = <-l.free:
			case <-l.quit:
				return
			}
			if l.end = fill(p); l.end != nil {
				return
			}
			p.err, p.done = nil, make(chan struct{})
			l.queue <- p
			go func() {
				defer close(p.done)
				work(p)
			}()
		}
	}()
	return l
}

// next returns the next piece, which must be released, or what fill has ended with.
func (l *lane) next() (*piece, error) {
	p, ok := <-l.queue
	if !ok {
		return nil, l.end
	}
	<-p.done
	return p, p.err
}

func (l *lane) release(p *piece) { l.free <- p }

// close ends the lane. When it returns, nothing of it runs any more.
func (l *lane) close() {
	close(l.quit)
	for p := range l.queue {
		<-p.done
	}
}
