package secrecy

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"tidemark/integration/kit/servertest"
	"tidemark/internal/keys"
)

// secret returns everything that must not show, in the forms that programs write bytes in.
func (w *world) secret() map[string][]byte {
	all := make(map[string][]byte)
	for name, text := range map[string]string{"row": w.row, "password": w.password, "identity": w.first.identity,
		"second identity": w.second.identity, "half of an identity": w.first.identity[16:48]} {
		all[name] = []byte(text)
		all[name+" in hexadecimal"] = []byte(hex.EncodeToString([]byte(text)))
		for shift := range 3 {
			coded := base64.StdEncoding.EncodeToString(append(make([]byte, shift), text...))
			all[name+" in base64"+strings.Repeat("'", shift)] = []byte(coded[4 : len(coded)-4])
		}
	}
	return all
}

// holds returns the names of the secrets that data holds.
func holds(data []byte, secrets map[string][]byte) (found []string) {
	for name, form := range secrets {
		if bytes.Contains(data, form) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}

// inspect looks for the secrets everywhere.
func (w *world) inspect() {
	secrets := w.secret()
	if found := holds(w.said.Bytes(), secrets); len(found) > 0 {
		w.T.Errorf("what was printed and served holds: %v", found)
	}
	if w.said.Len() < 10_000 {
		w.T.Errorf("only %d bytes were printed and served", w.said.Len())
	}
	log, err := os.ReadFile(w.file("run.log"))
	if err != nil || len(log) == 0 {
		w.T.Errorf("no log: %v", err)
	}
	if found := holds(log, secrets); len(found) > 0 {
		w.T.Errorf("the log holds: %v", found)
	}
	data, plain := 0, 0
	w.files(w.file("archive"), func(path string, stored []byte) {
		if found := holds(stored, secrets); len(found) > 0 {
			w.T.Errorf("%s holds: %v", path, found)
		}
		switch {
		case strings.HasSuffix(path, ".age"):
			data++
			if !bytes.HasPrefix(stored, []byte("age-encryption.org/v1\n")) {
				w.T.Errorf("%s is no file of age", path)
			}
		case strings.HasSuffix(path, ".json"):
			plain++
		case strings.HasSuffix(path, ".json.zst"):
			if found := holds(w.decompressed(bytes.NewReader(stored)), secrets); len(found) > 0 {
				w.T.Errorf("%s, decompressed, holds: %v", path, found)
			}
		default:
			w.T.Errorf("%s is not encrypted", path)
		}
	})
	if data < 4 || plain < 6 {
		w.T.Errorf("there are %d encrypted objects and %d others", data, plain)
	}
	// The spool is plain while it holds something; what is left of it must not hold keys.
	w.files(w.file("state"), func(path string, text []byte) {
		if found := holds(text, secrets); len(found) > 0 {
			w.T.Errorf("%s holds: %v", path, found)
		}
	})
	w.watched.check(w.T)
}

// files shows all files below a directory.
func (w *world) files(dir string, each func(path string, data []byte)) {
	w.T.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		each(path, data)
		return err
	})
	if err != nil {
		w.T.Error(err)
	}
}

func (w *world) decompressed(r io.Reader) []byte {
	w.T.Helper()
	d, err := zstd.NewReader(r)
	if err != nil {
		w.T.Fatal(err)
	}
	defer d.Close()
	data, err := io.ReadAll(d)
	if err != nil {
		w.T.Error(err)
	}
	return data
}

// readByTools reads the archive as docs/format.md says: it holds the rows, for who has the identity.
func (w *world) readByTools(p pair) {
	w.T.Helper()
	ids, err := keys.ParseIdentities(p.file, []byte(p.identity))
	if err != nil {
		w.T.Fatal(err)
	}
	log, base := 0, 0
	w.files(w.file("archive"), func(path string, stored []byte) {
		if !strings.HasSuffix(path, ".age") {
			return
		}
		r, err := ids.Decrypt(bytes.NewReader(stored))
		if err != nil {
			w.T.Errorf("%s: %v", path, err)
			return
		}
		plain := w.decompressed(r)
		shows := bytes.Contains(plain, []byte(w.row))
		switch {
		case strings.HasSuffix(path, ".binlog.zst.age") && shows:
			log++
			if b := w.Server.Binaries; b.Binlog != "" && b.Flavor == servertest.MariaDB {
				cmd := exec.Command(b.Binlog, "--verbose", "-")
				cmd.Stdin = bytes.NewReader(plain)
				if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte(w.row)) {
					w.T.Errorf("%s: mariadb-binlog: %v\n%.500s", path, err, out)
				}
			}
		case shows:
			base++
		}
	})
	if log == 0 || base == 0 {
		w.T.Errorf("the rows are in %d segments and %d parts", log, base)
	}
}

// watch reads the command lines of all processes, again and again.
type watch struct {
	stop chan struct{}
	done sync.WaitGroup

	found    map[string]string // name of a secret and command line
	dir      []byte
	programs map[string]int // seen with something in dir in their command lines, by name
	reads    map[string]int // of a process, by its number
}

// A process is read in its first moments again and again, and then now and then: others run beside the test.
const (
	firstReads = 50
	allAgain   = 200 // samples
)

func startWatch(t *testing.T, dir string, secrets map[string][]byte) *watch {
	s := &watch{dir: []byte(dir), stop: make(chan struct{}), found: make(map[string]string), programs: make(map[string]int), reads: make(map[string]int)}
	s.done.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-s.stop:
				return
			case <-time.After(5 * time.Millisecond):
				s.sample(secrets)
			}
			if n%allAgain == 0 {
				clear(s.reads)
			}
		}
	})
	t.Cleanup(s.end)
	return s
}

func (s *watch) sample(secrets map[string][]byte) {
	proc, err := os.Open("/proc")
	if err != nil {
		return
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(0)
	for _, pid := range names {
		if pid[0] < '0' || pid[0] > '9' || s.reads[pid] >= firstReads {
			continue
		}
		s.reads[pid]++
		line, err := os.ReadFile("/proc/" + pid + "/cmdline")
		if err != nil || len(line) == 0 {
			continue
		}
		name, _, _ := bytes.Cut(line, []byte{0})
		if bytes.Contains(line, s.dir) {
			s.programs[filepath.Base(string(name))]++
		}
		for _, secret := range holds(line, secrets) {
			s.found[secret] = string(bytes.ReplaceAll(line, []byte{0}, []byte(" ")))
		}
	}
}

func (s *watch) end() {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	s.done.Wait()
}

func (s *watch) check(t *testing.T) {
	t.Helper()
	s.end()
	for secret, line := range s.found {
		t.Errorf("a command line held the %s: %s", secret, line)
	}
	if s.programs["tidemark"] < 10 {
		t.Errorf("tidemark was hardly seen to run: %v", s.programs)
	}
	t.Logf("command lines seen: %v", s.programs)
}
