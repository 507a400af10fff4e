package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"

	"tidemark/internal/fault"
)

// Source is what a configuration is made from.
type Source struct {
	// File is the configuration file. Without one, DefaultFile is read if it exists, unless a flag
	// names an archive or a primary: then the flags and the environment say everything.
	File string
	// Environ is the environment, as os.Environ returns it.
	Environ []string
	// Flags were given on the command line.
	Flags Flags
	// Schemes are the URL schemes of the storage this build has.
	Schemes []string
}

// Flags are the options that can be given on the command line.
type Flags struct {
	Archive string
	Primary string // host of one cluster
	User    string
	Cluster string // its name; DefaultCluster if empty
}

// DefaultCluster is the name of the cluster that the flag for the primary describes.
const DefaultCluster = "default"

// fileEnv names the configuration file.
const fileEnv = envPrefix + "CONFIG"

// loader makes one Config.
type loader struct {
	config    *Config
	problems  problems
	passwords map[string]string
}

// Load reads and checks the configuration. The error is of kind Config, and names the place of each
// problem. What a command needs beyond that, it asks for with Need.
func Load(src Source) (*Config, error) {
	l := &loader{config: &Config{origins: make(map[string]Origin)}, passwords: make(map[string]string)}
	preset(reflect.ValueOf(l.config).Elem())
	if err := l.findFile(src); err != nil {
		return nil, err
	}
	l.readEnv(src.Environ)
	l.readFlags(src.Flags)
	slices.SortFunc(l.config.Clusters, func(a, b *Cluster) int { return strings.Compare(a.Name, b.Name) })
	l.validate(src.Schemes)
	if err := l.problems.err(); err != nil {
		return nil, err
	}
	for _, cl := range l.config.Clusters {
		cl.passwords = l.passwords
	}
	return l.config, nil
}

// findFile reads the file that src means, if any.
func (l *loader) findFile(src Source) error {
	name, must := src.File, src.File != ""
	if i := slices.IndexFunc(src.Environ, func(e string) bool { return strings.HasPrefix(e, fileEnv+"=") }); i >= 0 && !must {
		name = strings.TrimPrefix(src.Environ[i], fileEnv+"=")
		must = name != ""
	}
	if !must {
		if src.Flags.Archive != "" || src.Flags.Primary != "" {
			return nil
		}
		name = DefaultFile
	}
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && !must {
		return nil
	}
	if err != nil {
		return fault.New(fault.Config, "read the configuration", "", err).
			WithHint("Name the file with --config, or do without one: --archive file:///path --primary HOST:PORT --user NAME.")
	}
	l.config.file = name
	l.readFile(name, data)
	return nil
}

// readFlags sets what the flags say. The one for the primary describes a cluster.
func (l *loader) readFlags(f Flags) {
	set := func(v any, prefix, key, flag string, texts ...string) {
		for _, o := range options(reflect.ValueOf(v).Elem(), prefix) {
			if o.path == prefix+key {
				l.setFrom(Origin{Name: flag}, o, texts...)
			}
		}
	}
	if f.Archive != "" {
		set(l.config, "", "archive", "--archive", f.Archive)
	}
	if f.Primary == "" && f.User == "" {
		return
	}
	name := f.Cluster
	switch {
	case name != "":
	case len(l.config.Clusters) == 1:
		name = l.config.Clusters[0].Name
	case len(l.config.Clusters) > 1:
		l.problems.add(Origin{Name: "--primary"}, "there are %d clusters: name the one that is meant with --cluster", len(l.config.Clusters))
		return
	default:
		name = DefaultCluster
	}
	cl := l.cluster(name, Origin{Name: "--cluster"})
	prefix := clustersKey + "." + name + "."
	if f.Primary != "" {
		set(cl, prefix, "hosts", "--primary", f.Primary)
	}
	if f.User != "" {
		set(cl, prefix, "user", "--user", f.User)
	}
}

// setFrom sets an option and remembers where it was given.
func (l *loader) setFrom(at Origin, o option, texts ...string) {
	if err := o.set(texts...); err != nil {
		l.problems.add(at, "%s", err)
		return
	}
	l.config.origins[o.path] = at
}

// cluster returns the cluster of that name, with defaults where it is new.
func (l *loader) cluster(name string, at Origin) *Cluster {
	for _, cl := range l.config.Clusters {
		if cl.Name == name {
			return cl
		}
	}
	cl := &Cluster{Name: name}
	preset(reflect.ValueOf(cl).Elem())
	l.config.Clusters = append(l.config.Clusters, cl)
	if why := badName(name); why != "" {
		l.problems.add(at, "%q is no name for a cluster: %s", name, why)
	}
	return cl
}

// badName says why a cluster may not be called so, or "". Names are directories of the archive.
func badName(name string) string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789_-"
	switch {
	case name == "" || strings.Trim(name, letters) != "" || strings.ContainsFunc(name, func(r rune) bool { return !strings.ContainsRune(letters, r) }):
		return "use lower-case letters, digits, '-' and '_'"
	case len(name) > 64:
		return fmt.Sprintf("it has %d characters, at most 64 are allowed", len(name))
	}
	return ""
}
