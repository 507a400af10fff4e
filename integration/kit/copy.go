package kit

import (
	"errors"
	"os"
	"path/filepath"
)

// Copy is another world of the same primary with copies of the archive and the state, as changed. Both must be
// directories of the world, in which nothing archives meanwhile.
func (w *World) Copy(change func(*Setup)) *World {
	w.T.Helper()
	c := &World{T: w.T, Dir: w.T.TempDir(), Server: w.Server, Tool: w.Tool, Identity: w.Identity, publicKey: w.publicKey, setup: w.setup}
	var errs []error
	for _, name := range []string{"archive", "state"} {
		errs = append(errs, os.CopyFS(filepath.Join(c.Dir, name), os.DirFS(filepath.Join(w.Dir, name))))
	}
	if err := errors.Join(errs...); err != nil {
		w.T.Fatal(err)
	}
	c.Configure(change)
	return c
}
