package hostiletest_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"

	"tidemark/internal/mysqld/hostiletest"
)

// TestServer has a real client ask: what the stand-in says arrives, whatever its size.
func TestServer(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	s := &hostiletest.Server{Answers: hostiletest.Answers{
		"SELECT":         hostiletest.Row("short"),
		"SELECT long":    {Columns: []string{"a", "b"}, Rows: [][]string{{long, ""}, {"", long[:300]}}},
		"SELECT nothing": {Columns: []string{"a"}},
		"SELECT secrets": hostiletest.Refuse(1227, "Access denied"),
		"SET":            {},
	}}
	conn, err := client.ConnectWithContext(t.Context(), s.Listen(t), "u", "a password", "", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Quit()
	if err := conn.Ping(); err != nil {
		t.Error(err)
	}
	if r, err := conn.Execute("SET x = 1"); err != nil || r.HasResultset() {
		t.Errorf("a statement without rows: %+v, %v", r, err)
	}
	if r, err := conn.Execute("SELECT nothing"); err != nil || r.RowNumber() != 0 || r.ColumnNumber() != 1 {
		t.Errorf("no row: %+v, %v", r, err)
	}
	r, err := conn.Execute("SELECT long, other")
	if err != nil || r.RowNumber() != 2 {
		t.Fatal(r, err)
	}
	first, _ := r.GetStringByName(0, "a")
	last, _ := r.GetStringByName(1, "b")
	if first != long || last != long[:300] {
		t.Errorf("%d and %d bytes came", len(first), len(last))
	}
	var refused *mysql.MyError
	if _, err := conn.Execute("SELECT secrets"); !errors.As(err, &refused) || refused.Code != 1227 {
		t.Errorf("the refusal: %v", err)
	}
	if r, err := conn.Execute("SELECT another"); err != nil {
		t.Error(err)
	} else if v, _ := r.GetString(0, 0); v != "short" {
		t.Errorf("the shorter key answers %q", v)
	}
}
