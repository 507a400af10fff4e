package mysqld

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
)

// layout are the recorded variables that say how InnoDB's files are made up. The tool that prepares a copy needs
// them as the server does.
var layout = []string{"innodb_data_file_path", "innodb_page_size", "innodb_undo_tablespaces"}

// layoutValues are what these variables can be, but for the first.
var layoutValues = map[string]*regexp.Regexp{
	"innodb_page_size":        regexp.MustCompile(`^(4096|8192|16384|32768|65536)$`),
	"innodb_undo_tablespaces": regexp.MustCompile(`^[0-9]{1,3}$`),
}

// LayoutArgs renders the variables recorded with a backup by which a tool finds InnoDB's files in it, all of them inside
// its directory.
func LayoutArgs(variables map[string]string) ([]string, error) {
	var args []string
	for _, name := range layout {
		value, ok := variables[name]
		if !ok {
			continue
		}
		value, err := layoutValue(name, value)
		if err != nil {
			return nil, err
		}
		args = append(args, "--"+strings.ReplaceAll(name, "_", "-")+"="+value)
	}
	return args, nil
}

// layoutValue returns the value of a recorded variable as it is for a copy.
func layoutValue(name, value string) (string, error) {
	if name == "innodb_data_file_path" {
		inside, err := dataFilesInside(value)
		if err != nil {
			return "", fmt.Errorf("recorded variable %s is %q: %w", name, value, err)
		}
		return inside, nil
	}
	if form := layoutValues[name]; form != nil && !form.MatchString(value) {
		return "", fmt.Errorf("recorded variable %s has the value %q", name, value)
	}
	return value, nil
}

var (
	dataFileSize = regexp.MustCompile(`(?i)^[0-9]{1,20}[KMG]?(:autoextend(:max:[0-9]{1,20}[KMG]?)?)?$`)
	dataFileRaw  = regexp.MustCompile(`(?i)^[0-9]{1,20}[KMG]?(newraw|raw)$`)
)

// dataFilesInside takes the directories out of the files of a system tablespace. A backup holds the files by their base
// names, wherever the server has them, and a server on the copy must open these and no others.
func dataFilesInside(recorded string) (string, error) {
	var files []string
	seen := map[string]bool{}
	for file := range strings.SplitSeq(strings.TrimSuffix(recorded, ";"), ";") {
		name, size, _ := strings.Cut(file, ":")
		base := path.Base(name)
		switch {
		case base == "." || base == ".." || base == "/" || strings.HasSuffix(name, "/") || strings.ContainsAny(name, "\x00\n\r\\\""):
			return "", fmt.Errorf("%q names no file", file)
		case dataFileRaw.MatchString(size):
			return "", errors.New("a raw device cannot be restored into a directory")
		case !dataFileSize.MatchString(size):
			return "", fmt.Errorf("%q has no size that can be", file)
		case seen[base]:
			return "", fmt.Errorf("two files have the name %s, and a directory holds one of them", base)
		}
		seen[base] = true
		files = append(files, base+":"+size)
	}
	return strings.Join(files, ";"), nil
}

// The directories in which a server looks for files of its own, as options: in the data directory, where a copy has
// them, whatever an option file says.
func insideArgs(mysql bool) []string {
	args := []string{"--innodb-data-home-dir=./", "--innodb-undo-directory=./", "--innodb-log-group-home-dir=./"}
	if mysql {
		return append(args, "--innodb-directories=")
	}
	return append(args, "--aria-log-dir-path=./")
}
