package backup

import (
	"context"
	"strings"
	"testing"
	"time"

	"tidemark/basebackup"
	"tidemark/integration/kit"
)

// TestBusy copies a server on which some query always runs. That is no reason to wait.
func TestBusy(t *testing.T) {
	s := oneSite(t)
	for range 3 {
		defer s.repeat([]string{"SELECT SLEEP(2)"})()
	}
	s.archive()
	e := s.engine()
	e.LockWait = 3 * time.Second
	o := s.options(e)
	o.Progress = whenWaiting(s.archive)
	start := time.Now()
	if _, err := basebackup.Take(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	t.Logf("in %s", time.Since(start))
}

// TestLocked: a copy that does not get its lock is given up, before what waits behind it waits long.
func TestLocked(t *testing.T) {
	s := oneSite(t)
	conn := s.srv.Conn()
	defer conn.Close()
	if _, err := conn.Execute("LOCK TABLES d.m WRITE"); err != nil {
		t.Fatal(err)
	}
	s.archive()
	e := s.engine()
	e.LockWait = 500 * time.Millisecond
	_, err := basebackup.Take(context.Background(), s.options(e))
	s.none(err)
	if !strings.Contains(err.Error(), "did not get its lock within 500ms") {
		t.Error(err)
	}
	if left := s.running(); len(left) > 0 {
		t.Errorf("%d processes are left", len(left))
	}
	// The server looks about once a second whether the client of a session that waits is still there.
	kit.Until(t, time.Minute, "no session waits for the lock", func() bool {
		return s.srv.Value("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'BACKUP%'") == "0"
	})
}
