// Command buildcost builds the program with an empty cache and prints, as rows of docs/dependencies.md,
// what each direct dependency costs: how many packages would go with it, the processor time of compiling
// them in seconds, and their share of the program in MiB.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const program = "tidemark/cmd/tidemark"

// group is direct dependencies that are used together.
type group struct {
	name    string
	begin   []string // of the paths of its modules
	modules []string
}

// families are those of more than one module.
func families() []group {
	return []group{
		{name: "all of AWS", begin: []string{"github.com/aws/"}},
		{name: "all of Azure", begin: []string{"github.com/Azure/"}},
		{name: "all of Google Cloud Storage", begin: []string{"google.golang.org/api", "golang.org/x/oauth2"}},
	}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "buildcost:", err)
		os.Exit(1)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "buildcost-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := build(dir)
	if err != nil {
		return err
	}
	if err := b.imports(); err != nil {
		return err
	}
	groups, err := direct()
	if err != nil {
		return err
	}
	all := b.reach(nil)
	rest := all.minus(nil)
	for _, g := range groups {
		name, alone := g.name, all.minus(b.reach(g.modules))
		rest = rest.minus(alone)
		if len(alone) == 0 { // others need it too: what is its own is counted again with theirs
			name += ", by itself"
			for p := range all {
				if within(p, g.modules) {
					alone[p] = true
				}
			}
		}
		b.row(name, alone)
	}
	own, std := set{}, set{}
	for p := range rest {
		switch {
		case p == "tidemark" || strings.HasPrefix(p, "tidemark/"):
			own[p] = true
		case b.packages[p].Standard:
			std[p] = true
		}
	}
	b.row("what several of them bring", rest.minus(own).minus(std))
	b.row("the standard library", std)
	b.row("Tidemark itself", own)
	b.row("**all**, and linking", all)
	return nil
}

// cost is what was measured, and the packages that the program is made of.
type cost struct {
	seconds  map[string]float64 // of the processor, by package
	linking  float64
	bytes    map[string]float64 // in the program, by package
	size     int64              // of the program as it is released
	packages map[string]pkg
}

type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string
	ImportMap  map[string]string
}

// build compiles everything, and links twice: the names of symbols are not in what is released.
func build(dir string) (*cost, error) {
	graph, named, released := filepath.Join(dir, "graph"), filepath.Join(dir, "named"), filepath.Join(dir, "released")
	for _, args := range [][]string{
		{"-debug-actiongraph", graph, "-o", named},
		{"-ldflags", "-s -w", "-o", released},
	} {
		cmd := exec.Command("go", append(append([]string{"build", "-trimpath"}, args...), program)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOCACHE="+filepath.Join(dir, "cache"))
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	info, err := os.Stat(released)
	if err != nil {
		return nil, err
	}
	c := &cost{size: info.Size(), seconds: map[string]float64{}, bytes: map[string]float64{}, packages: map[string]pkg{}}
	data, err := os.ReadFile(graph)
	if err != nil {
		return nil, err
	}
	var actions []struct {
		Mode, Package   string
		CmdUser, CmdSys float64 // nanoseconds
	}
	if err := json.Unmarshal(data, &actions); err != nil {
		return nil, err
	}
	for _, a := range actions {
		switch took := (a.CmdUser + a.CmdSys) / 1e9; a.Mode {
		case "build":
			c.seconds[a.Package] += took
		case "link":
			c.linking += took
		}
	}
	out, err := exec.Command("go", "tool", "nm", "-size", named).Output()
	if err != nil {
		return nil, fmt.Errorf("list the symbols: %w", err)
	}
	c.symbols(string(out))
	return c, nil
}

// symbols shares the program out by how much of its code is each package's: tables of lines and types,
// and most data, have no names that tell whose they are.
func (c *cost) symbols(list string) {
	var sum float64
	for line := range strings.Lines(list) {
		f := strings.Fields(line) // address, size, kind, name
		if len(f) < 4 || !strings.Contains("Tt", f[2]) {
			continue
		}
		size, err := strconv.ParseFloat(f[1], 64)
		name, _, _ := strings.Cut(f[3], "[") // of a generic's arguments
		name, _, _ = strings.Cut(name, "(")
		slash := strings.LastIndex(name, "/") + 1
		dot := strings.Index(name[slash:], ".")
		if err != nil || dot < 0 || strings.ContainsAny(name[:slash+dot], ":*") {
			continue
		}
		path := strings.ReplaceAll(name[:slash+dot], "%2e", ".")
		if path == "main" {
			path = program
		}
		c.bytes[path] += size
		sum += size
	}
	for path := range c.bytes {
		c.bytes[path] *= float64(c.size) / sum
	}
}

// imports reads which package imports which.
func (c *cost) imports() error {
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,Imports,ImportMap", program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("list the packages: %w", err)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p pkg
		if err := d.Decode(&p); err != nil {
			return err
		}
		c.packages[p.ImportPath] = p
	}
	return nil
}

// direct returns the direct dependencies, those of a family together.
func direct() (groups []group, err error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{if not (or .Indirect .Main)}}{{.Path}}{{end}}", "all").Output()
	if err != nil {
		return nil, fmt.Errorf("list the modules: %w", err)
	}
	groups = families()
modules:
	for _, path := range strings.Fields(string(out)) {
		for i, g := range groups {
			if slices.ContainsFunc(g.begin, func(begin string) bool { return strings.HasPrefix(path, begin) }) {
				groups[i].modules = append(g.modules, path)
				continue modules
			}
		}
		groups = append(groups, group{name: path, modules: []string{path}})
	}
	return groups, nil
}

type set map[string]bool

func (s set) minus(other set) set {
	left := set{}
	for p := range s {
		if !other[p] {
			left[p] = true
		}
	}
	return left
}

// reach returns the packages that the program is made of if our own import none of the modules.
func (c *cost) reach(without []string) set {
	seen := set{}
	for next := []string{program}; len(next) > 0; {
		p := c.packages[next[len(next)-1]]
		next = next[:len(next)-1]
		if seen[p.ImportPath] {
			continue
		}
		seen[p.ImportPath] = true
		ours := strings.HasPrefix(p.ImportPath, "tidemark/")
		for _, path := range p.Imports {
			if mapped, ok := p.ImportMap[path]; ok { // what the standard library has of others
				path = mapped
			}
			if _, known := c.packages[path]; known && !(ours && within(path, without)) {
				next = append(next, path)
			}
		}
	}
	return seen
}

func within(path string, modules []string) bool {
	return slices.ContainsFunc(modules, func(m string) bool { return path == m || strings.HasPrefix(path, m+"/") })
}

// row prints what packages cost. The last row is everything, with what no package is named for.
func (c *cost) row(name string, packages set) {
	var seconds, size float64
	for p := range packages {
		seconds += c.seconds[p]
		size += c.bytes[p]
	}
	if packages[program] && len(packages) == len(c.packages) {
		seconds, size = seconds+c.linking, float64(c.size)
	}
	fmt.Printf("| %s | %d | %.1f | %.1f |\n", name, len(packages), seconds, size/(1<<20))
}
