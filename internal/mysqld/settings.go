package mysqld

import (
	"fmt"
	"path/filepath"
	"strings"

	"tidemark/internal/durable"
	"tidemark/internal/variables"
	"tidemark/internal/zone"
)

// writeOptions writes the option file of the server: first what was recorded with the data, then the user's own file, so that
// it wins.
func (s *Server) writeOptions() (path string, err error) {
	options, err := variables.Options(s.o.Flavor, s.o.Settings)
	if err != nil {
		return "", err
	}
	text, err := optionLines(options)
	if err != nil {
		return "", err
	}
	text = "[mysqld]\n" + text
	if s.o.DefaultsFile != "" {
		include, err := filepath.Abs(s.o.DefaultsFile)
		if err != nil {
			return "", err
		}
		text += "\n!include " + include + "\n"
	}
	path = filepath.Join(s.dir, "options.cnf")
	if err := durable.WriteFileAtomic(durable.OS{}, path, []byte(text)); err != nil {
		return "", err
	}
	return path, s.o.User.Own(path)
}

// optionLines are lines of an option file. A server that does not know an option any more must start all the same.
func optionLines(options []variables.Option) (string, error) {
	var b strings.Builder
	for _, o := range options {
		value, err := layoutValue(strings.ReplaceAll(o.Name, "-", "_"), o.Value)
		if err != nil {
			return "", err
		}
		b.WriteString(optionLine("loose-"+o.Name, value))
	}
	return b.String(), nil
}

// optionLine is a line of an option file.
func optionLine(name, value string) string {
	return fmt.Sprintf("%s = \"%s\"\n", name, strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value))
}

// timeZone makes the server's system time zone that of the server whose data it has, and returns what its
// environment needs for that: sessions in the time zone SYSTEM were logged with only that name. Older backups say no more
// than the zone's abbreviation, which is unambiguous for UTC alone.
func (s *Server) timeZone() ([]string, error) {
	recorded, ok := s.o.Settings[variables.Offsets]
	if !ok {
		return zoneByName(s.o.Settings), nil
	}
	z, err := zone.Parse(recorded)
	if err != nil {
		return nil, err
	}
	if z.UTC() {
		return []string{"TZ=UTC"}, nil
	}
	path := filepath.Join(s.dir, "zone")
	if err := durable.WriteFileAtomic(durable.OS{}, path, z.File("SYS")); err != nil {
		return nil, err
	}
	return []string{"TZ=:" + path}, s.o.User.Own(path)
}

func zoneByName(settings map[string]string) []string {
	if settings["system_time_zone"] == "UTC" {
		return []string{"TZ=UTC"}
	}
	return nil
}
