package servertest_test

import (
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// TestShared: tests at the same time have one server and databases of their own; it ends with the last of them.
func TestShared(t *testing.T) {
	b := kit.One(t, kit.Servers(1))
	var first, second *servertest.Server
	t.Run("while one uses it", func(t *testing.T) {
		first = servertest.Shared(t, b, "secret")
		db := first.Database()
		t.Run("another does", func(t *testing.T) {
			second = servertest.Shared(t, b, "secret")
			if second.Pid() != first.Pid() {
				t.Error("it has a server of its own")
			}
			if second.Database() == db {
				t.Error("both have the database " + db)
			}
		})
		if first.Pid() == 0 {
			t.Fatal("the server ended with the first of two tests that use it")
		}
		first.Exec("CREATE TABLE " + db + ".t (id INT)")
	})
	if first.Pid() != 0 {
		t.Error("the server runs on after all its tests")
	}
}
