package config

import (
	"reflect"
	"slices"
	"strings"
)

// envPrefix begins the name of every environment variable of the program.
const envPrefix = "TIDEMARK_"

// envName returns the variable of an option's path.
func envName(path string) string {
	return envPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(path))
}

// clusterEnv begins the variables of a cluster.
func clusterEnv(name string) string { return envName(clustersKey + "." + name + ".") }

// readEnv sets what the environment says. Variables of an unknown name under TIDEMARK_CLUSTERS_, and
// such as look like a misspelt one, are problems; others may be there for other reasons.
func (l *loader) readEnv(environ []string) {
	top := make(map[string]option)
	known := []string{passwordEnv, fileEnv}
	for _, o := range options(reflect.ValueOf(l.config).Elem(), "") {
		top[envName(o.path)] = o
		known = append(known, envName(o.path))
	}
	for _, entry := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case !strings.HasPrefix(name, envPrefix):
		case name == fileEnv:
		case name == passwordEnv:
			l.passwords[""] = value
		case strings.HasPrefix(name, envPrefix+"CLUSTERS_"):
			l.readClusterEnv(name, value)
		case top[name].path != "":
			l.setFromEnv(name, value, top[name])
		default:
			if meant := Nearest(name, known); meant != "" && distance(name, meant) <= 2 {
				l.problems.add(Origin{Name: name}, "there is no such environment variable; did you mean %q?", meant)
			}
		}
	}
}

// readClusterEnv finds which cluster and which option a variable is of. A cluster that the file does
// not have is made.
func (l *loader) readClusterEnv(name, value string) {
	rest := strings.TrimPrefix(name, envPrefix+"CLUSTERS_")
	var suffix string // of the longest option that ends the name
	suffixes := []string{"PASSWORD"}
	for _, o := range options(reflect.ValueOf(new(Cluster)).Elem(), "") {
		suffixes = append(suffixes, strings.TrimPrefix(envName(o.path), envPrefix))
	}
	for _, s := range suffixes {
		if strings.HasSuffix(rest, "_"+s) && len(s) > len(suffix) {
			suffix = s
		}
	}
	clusterPart := strings.TrimSuffix(rest, "_"+suffix)
	if suffix == "" || clusterPart == "" {
		l.problems.add(Origin{Name: name}, "there is no such environment variable: write %sCLUSTERS_<NAME>_<OPTION>", envPrefix)
		return
	}
	cl := l.clusterOfEnv(clusterPart, name)
	if cl == nil {
		return
	}
	if suffix == "PASSWORD" {
		l.passwords[cl.Name] = value
		return
	}
	prefix := clustersKey + "." + cl.Name + "."
	for _, o := range options(reflect.ValueOf(cl).Elem(), prefix) {
		if envName(o.path) == clusterEnv(cl.Name)+suffix {
			l.setFromEnv(name, value, o)
		}
	}
}

// clusterOfEnv returns the cluster whose name reads so in capitals, or nil after a problem.
func (l *loader) clusterOfEnv(part, variable string) *Cluster {
	var found *Cluster
	for _, cl := range l.config.Clusters {
		if clusterEnv(cl.Name) != envPrefix+"CLUSTERS_"+part+"_" {
			continue
		}
		if found != nil {
			l.problems.add(Origin{Name: variable}, "it may mean cluster %s or %s: set the option in the file", found.Name, cl.Name)
			return nil
		}
		found = cl
	}
	if found == nil {
		found = l.cluster(strings.ToLower(part), Origin{Name: variable})
	}
	return found
}

func (l *loader) setFromEnv(name, value string, o option) {
	texts := []string{value}
	if o.list() {
		texts = texts[:0]
		for part := range strings.SplitSeq(value, ",") {
			texts = append(texts, strings.TrimSpace(part))
		}
	}
	l.setFrom(Origin{Name: name}, o, texts...)
}
