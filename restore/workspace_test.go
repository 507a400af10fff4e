package restore

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"tidemark/internal/catalog"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/internal/mysqld"
)

func TestClaim(t *testing.T) {
	plan := &Plan{Cluster: "shop", Target: "latest", base: new(catalog.Base)}
	user := mysqld.User{UID: os.Getuid(), GID: os.Getgid()}
	write := func(path string) {
		t.Helper()
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	take := func(target string) *workspace {
		t.Helper()
		w, err := claim(durable.OS{}, target)
		if err == nil {
			err = w.begin(plan, noon)
		}
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	refused := func(target string, kind fault.Kind) {
		t.Helper()
		w, err := claim(durable.OS{}, target)
		if !fault.Is(err, kind) {
			t.Errorf("claim gives %v, %v; want %s", w, err, kind)
		}
	}

	t.Run("absent, then ours", func(t *testing.T) {
		target := filepath.Join(t.TempDir(), "a", "data")
		w := take(target)
		refused(target, fault.Locked)
		write(filepath.Join(target, "ibdata1"))
		if err := os.Mkdir(filepath.Join(target, "shop"), 0o700); err != nil {
			t.Fatal(err)
		}
		w.release() // as when the process dies

		w, err := claim(durable.OS{}, target)
		if err != nil || !w.left || w.state.unusable(plan) == "" || InterruptedBase(target) != w.state.Base {
			t.Fatalf("what an interrupted restore left: %v, %+v, %v", w.left, w.state, err)
		}
		if err := w.begin(plan, noon); err != nil {
			t.Fatal(err)
		}
		if entries, err := os.ReadDir(target); err != nil || len(entries) != 1 {
			t.Errorf("%d things are left beside the marker, %v", len(entries)-1, err)
		}
		write(filepath.Join(target, "ibdata1"))
		if err := errors.Join(w.finish(user, new(Report)), w.tidy()); err != nil {
			t.Fatal(err)
		}
		w.release()
		if entries, err := os.ReadDir(target); err != nil || len(entries) != 1 {
			t.Errorf("the restored directory has %d entries, %v", len(entries), err)
		}
		refused(target, fault.TargetNotEmpty) // restored, it is the operator's
	})

	t.Run("replaced by somebody else", func(t *testing.T) {
		target := filepath.Join(t.TempDir(), "data")
		take(target).release()
		if err := os.RemoveAll(target); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(target, 0o700); err != nil {
			t.Fatal(err)
		}
		write(filepath.Join(target, "precious"))
		refused(target, fault.TargetNotEmpty)
		if _, err := os.Stat(filepath.Join(target, "precious")); err != nil {
			t.Error(err)
		}
	})

	t.Run("empty but for a file system's own directory", func(t *testing.T) {
		target := t.TempDir()
		if err := os.Mkdir(filepath.Join(target, "lost+found"), 0o700); err != nil {
			t.Fatal(err)
		}
		take(target).release()
		take(target).release()
		if _, err := os.Stat(filepath.Join(target, "lost+found")); err != nil {
			t.Error(err)
		}
	})

	t.Run("through a link", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "real"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
		w := take(filepath.Join(dir, "link"))
		defer w.release()
		refused(filepath.Join(dir, "real"), fault.Locked)
	})

	t.Run("working directory of somebody else", func(t *testing.T) {
		target := filepath.Join(t.TempDir(), "data")
		if err := os.Mkdir(target+".tidemark", 0o700); err != nil {
			t.Fatal(err)
		}
		write(target + ".tidemark/precious")
		refused(target, fault.TargetNotEmpty)
		write(target + ".tidemark/state.json")
		refused(target, fault.TargetNotEmpty)
	})
}
