package mysqld

import (
	"context"
	"time"
)

// farewell is how long a server that is given up may take to answer and to shut down, before it is killed.
const farewell = 10 * time.Second

// abandon ends a server whose start has failed, or was interrupted. One that has come so far as to make the private
// account is not left with it.
func (s *Server) abandon() {
	defer s.Close()
	if s.cmd == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	if s.await(ctx) == nil {
		_ = s.Stop(ctx)
	}
}
