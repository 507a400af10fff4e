package restore

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// TestOrphans ends XA transactions that are not prepared.
func TestOrphans(t *testing.T) {
	x := newXALog(nil)
	x.known <- []string{"base"}
	x.prepare("a")
	x.end("a", xaCommit)
	x.prepare("b")
	x.end("b", xaRollback)
	for _, c := range []struct{ xid, how, note, fails string }{
		{"a", xaCommit, "once more", ""},
		{"a", xaRollback, "", "by XA ROLLBACK, which the log has ended by XA COMMIT before"},
		{"b", xaRollback, "once more", ""},
		{"b", xaCommit, "", "by XA COMMIT, which the log has ended by XA ROLLBACK before"},
		{"c", xaRollback, "nothing to roll back", ""},
		{"c", xaCommit, "", "the log lacks its changes"},
	} {
		if open, err := x.has(context.Background(), c.xid); open || err != nil {
			t.Errorf("%s is prepared: %v, %v", c.xid, open, err)
		}
		note, err := x.orphan(c.xid, c.how)
		if (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) || !strings.Contains(note, c.note) {
			t.Errorf("%s %s: %q, %v", c.how, c.xid, note, err)
		}
	}
	if open, err := x.has(context.Background(), "base"); !open || err != nil {
		t.Errorf("what the server had prepared is not: %v", err)
	}
	x.prepare("a")
	if open, _ := x.has(context.Background(), "a"); !open || x.ended["a"] != "" {
		t.Error("prepared again, it is not")
	}
	for i := range 2 * lateEnds {
		x.end(fmt.Sprint(i), xaCommit)
	}
	if len(x.ended) > lateEnds || len(x.order) > lateEnds {
		t.Errorf("%d ends are remembered", len(x.ended))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	fresh := newXALog(nil)
	if _, err := fresh.has(ctx, "a"); err == nil {
		t.Error("it does not end with its context")
	}
}

// TestParseXID reads names as XA RECOVER FORMAT='SQL' writes them.
func TestParseXID(t *testing.T) {
	for _, c := range []struct{ format, text, want string }{
		{"1", "'x'", "X'78',X'',1"},
		{"1", "'pla, in'", "X'706c612c20696e',X'',1"},
		{"1", "X'e282ac',X'62'", "X'e282ac',X'62',1"},
		{"3", "X'615c',X'62',3", "X'615c',X'62',3"},
		{"7", "'a','b',7", "X'61',X'62',7"},
		{"7", "'a','',7", "X'61',X'',7"},
		{"7", "'a','b',8", ""},
		{"1", "'a", ""},
		{"1", "X'6'", ""},
		{"x", "'a'", ""},
		{"1", "", ""},
	} {
		if got, err := parseXID(c.format, c.text); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v, want %q", c.text, got, err, c.want)
		}
	}
}

// TestDoubtful: of what is prepared when the primary crashes, the server's of before too, any may be gone until it is
// prepared again or ended.
func TestDoubtful(t *testing.T) {
	x := newXALog([]string{"earlier"})
	x.known <- []string{"base"}
	x.prepare("a")
	x.prepare("b")
	x.prepare("c")
	x.end("c", xaCommit)
	if err := x.crashed(context.Background()); err != nil {
		t.Fatal(err)
	}
	x.prepare("later")
	if got := fmt.Sprint(x.doubtfulXIDs()); got != "[a b base earlier]" {
		t.Errorf("after the crash: %s", got)
	}
	x.end("a", xaRollback)
	x.prepare("base")
	if got := fmt.Sprint(x.doubtfulXIDs()); got != "[b earlier]" {
		t.Errorf("in the end: %s", got)
	}
}
