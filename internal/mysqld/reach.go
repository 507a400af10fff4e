package mysqld

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ProgramFiles returns where programs lie with what belongs to them: the directory above bin or sbin, for one that is installed
// apart, and where the dynamic linker is told to look.
func ProgramFiles(programs ...string) []string {
	dirs := filepath.SplitList(os.Getenv("LD_LIBRARY_PATH"))
	for _, program := range programs {
		paths := []string{program}
		if resolved, err := filepath.EvalSymlinks(program); err == nil {
			paths = append(paths, resolved)
		}
		for _, path := range paths {
			dir := filepath.Dir(path)
			if above := filepath.Dir(dir); above != "/" && slices.Contains([]string{"bin", "sbin", "libexec"}, filepath.Base(dir)) {
				dir = above
			}
			dirs = append(dirs, dir)
		}
	}
	return slices.DeleteFunc(dirs, func(dir string) bool { return !filepath.IsAbs(dir) })
}

// OptionFiles returns an option file, those that it includes, and all files and directories that they name: keys, certificates,
// plugins. It is empty for "".
func OptionFiles(path string) []string {
	if path == "" {
		return nil
	}
	return optionFiles(nil, path)
}

// mostOptionFiles bounds how many files include each other.
const mostOptionFiles = 100

func optionFiles(found []string, path string) []string {
	if slices.Contains(found, path) || len(found) > mostOptionFiles {
		return found
	}
	found = append(found, path)
	if entries, err := os.ReadDir(path); err == nil { // of !includedir
		for _, e := range entries {
			if ext := filepath.Ext(e.Name()); ext == ".cnf" || ext == ".ini" {
				found = optionFiles(found, filepath.Join(path, e.Name()))
			}
		}
		return found
	}
	f, err := os.Open(path)
	if err != nil {
		return found // the program will say so
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if name, ok := strings.CutPrefix(line, "!include"); ok {
			found = optionFiles(found, strings.TrimSpace(strings.TrimPrefix(name, "dir")))
			continue
		}
		_, value, _ := strings.Cut(line, "=")
		value = strings.Trim(strings.TrimSpace(value), `"'`)
		if filepath.IsAbs(value) && !strings.HasPrefix(line, "#") && !slices.Contains(found, value) {
			found = append(found, value)
		}
	}
	return found
}
