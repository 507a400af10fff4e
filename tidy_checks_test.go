package tidemark

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	module      = "tidemark"
	integration = "integration"
)

type (
	rule struct {
		name  string
		check func(tree) []string // one line for a problem
	}

	edge struct {
		from, to string
		inTests  bool // only there
	}

	restriction struct {
		path    string   // an import path, with all below it
		by      []string // directories that may import it, with all below them
		inTests bool     // tests anywhere may too
		why     string
	}

	reservation struct {
		pkg   string // import path; "" for a method
		names []string
		owner string // directory
	}

	exception struct {
		in   string // a directory or a file
		name string // as in the source: "os.OpenFile", "time.Now", ".Sync"
		why  string
	}
)

// source is one Go file.
type source struct {
	path, dir string // slash-separated, relative to the root; dir is "." for the root
	test      bool   // or of a test kit
	generated bool
	lines     int
	ast       *ast.File
}

// tree is the repository: its Go files parsed, and all its text.
type tree struct {
	fset  *token.FileSet
	files []source
	text  map[string][]byte // by path, without binary files
}

// load reads the tree, without what git ignores and what the go command ignores.
func load(fsys fs.FS) (tree, error) {
	t := tree{fset: token.NewFileSet(), text: map[string][]byte{}}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if slices.Contains([]string{".git", ".tools", "bin"}, p) { // in a worktree .git is a file
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		data, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		if !bytes.Contains(data[:min(len(data), 8192)], []byte{0}) {
			t.text[p] = data
		}
		if path.Ext(p) != ".go" || strings.Contains("/"+p, "/testdata/") {
			return nil
		}
		file, err := parser.ParseFile(t.fset, p, data, parser.ParseComments)
		if err != nil {
			return err
		}
		t.files = append(t.files, source{
			path:      p,
			dir:       path.Dir(p),
			test:      strings.HasSuffix(p, "_test.go") || isKit(path.Dir(p)),
			generated: ast.IsGenerated(file),
			lines:     bytes.Count(data, []byte("\n")),
			ast:       file,
		})
		return nil
	})
	return t, err
}

// at renders a position as file:line.
func (t tree) at(n ast.Node) string {
	p := t.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// within reports whether the slash-separated path p is dir or below it.
func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

func withinAny(p string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return within(p, d) })
}

// imports yields each import of a file with its path.
func (s source) imports(yield func(*ast.ImportSpec, string) bool) {
	for _, spec := range s.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err == nil && !yield(spec, p) {
			return
		}
	}
}

func checkLayers(t tree) (problems []string) {
	for _, s := range t.files {
		if s.dir == "." || within(s.dir, integration) {
			if s.dir == "." && !s.test {
				problems = append(problems, s.path+": the root holds no code")
			}
			continue
		}
		if _, row := unitOf(s.dir); row < 0 {
			problems = append(problems, s.path+": the package is in no layer: give it one in tidy_test.go")
			continue
		}
		for spec, p := range s.imports {
			if !within(p, module) {
				continue
			}
			if why := forbidden(s.dir, strings.TrimPrefix(p, module+"/"), s.test); why != "" {
				problems = append(problems, fmt.Sprintf("%s: imports %s: %s", t.at(spec), p, why))
			}
		}
	}
	return problems
}

// unitOf returns the listed package that dir is or lies below, and its row; row is -1 if there is none.
func unitOf(dir string) (unit string, row int) {
	row = -1
	for r, names := range layers {
		for _, name := range names {
			if within(dir, name) && len(name) > len(unit) {
				unit, row = name, r
			}
		}
	}
	return unit, row
}

// isKit reports whether a package only serves tests.
func isKit(dir string) bool {
	unit, _ := unitOf(dir)
	return dir != unit && strings.HasSuffix(dir, "test")
}

// forbidden says why the package in directory from may not import the one in to, or "".
func forbidden(from, to string, test bool) string {
	if within(to, integration) {
		return "integration is imported by nothing"
	}
	fromUnit, fromRow := unitOf(from)
	toUnit, toRow := unitOf(to)
	kit := isKit(to)
	switch {
	case toRow < 0:
		return "it is in no layer"
	case kit && !test:
		return "a test kit is for tests"
	case fromUnit == toUnit:
		return ""
	case kit && toRow >= fromRow:
		return ""
	case to != toUnit && !kit:
		return "it is private to " + toUnit
	case toRow == fromRow && (slices.Contains(sideways, edge{from, to, false}) || test && slices.Contains(sideways, edge{from, to, true})):
		return ""
	case toRow == fromRow:
		return "it is in the same layer"
	case toRow < fromRow:
		return "it is in a higher layer"
	}
	return ""
}

func checkRestricted(t tree) (problems []string) {
	for _, s := range t.files {
		if within(s.dir, integration) {
			continue
		}
		for spec, p := range s.imports {
			for _, r := range restricted {
				own := within(module+"/"+s.dir, r.path) // a package's own external tests
				if !within(p, r.path) || withinAny(s.dir, r.by) || (s.test && r.inTests) || own {
					continue
				}
				problems = append(problems, fmt.Sprintf("%s: imports %s: %s (allowed: %s)", t.at(spec), p, r.why, strings.Join(r.by, ", ")))
			}
		}
	}
	return problems
}

// use is a mention of a reserved function.
type use struct {
	source
	name  string
	at    string
	owner string
}

func checkReserved(t tree) (problems []string) {
	for u := range t.reservedUses {
		if !slices.ContainsFunc(exceptions, u.exempt) {
			problems = append(problems, fmt.Sprintf("%s: %s is called through %s", u.at, u.name, u.owner))
		}
	}
	return problems
}

func unusedExceptions(t tree, list []exception) (problems []string) {
	for _, e := range list {
		used := false
		for u := range t.reservedUses {
			used = used || u.exempt(e)
		}
		if !used {
			problems = append(problems, fmt.Sprintf("the exception for %s in %s is not needed any more", e.name, e.in))
		}
		if e.why == "" {
			problems = append(problems, fmt.Sprintf("the exception for %s in %s has no reason", e.name, e.in))
		}
	}
	return problems
}

func (u use) exempt(e exception) bool { return u.name == e.name && within(u.path, e.in) }

// reservedUses yields the mentions of reserved functions outside their owner, called or passed on.
func (t tree) reservedUses(yield func(use) bool) {
	for _, s := range t.files {
		if s.test || within(s.dir, integration) {
			continue
		}
		local := map[string]string{} // local name of an import -> its path
		for spec, p := range s.imports {
			if spec.Name != nil {
				local[spec.Name.Name] = p
			} else {
				local[path.Base(p)] = p
			}
		}
		trusted := slices.Contains(slices.Collect(maps.Values(local)), module+"/internal/durable")
		called := map[ast.Expr]bool{} // without arguments, unlike a field of the same name
		for n := range ast.Preorder(s.ast) {
			if call, ok := n.(*ast.CallExpr); ok && len(call.Args) == 0 {
				called[call.Fun] = true
			}
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				continue
			}
			pkg, prefix := "", ""
			if x, ok := sel.X.(*ast.Ident); ok && x.Obj == nil && local[x.Name] != "" {
				pkg, prefix = local[x.Name], path.Base(local[x.Name])
			} else if !called[sel] || trusted {
				continue
			}
			for _, r := range reserved {
				if r.pkg == pkg && slices.Contains(r.names, sel.Sel.Name) && !within(s.dir, r.owner) {
					if !yield(use{s, prefix + "." + sel.Sel.Name, t.at(sel), r.owner}) {
						return
					}
				}
			}
		}
	}
}

func checkInit(t tree) (problems []string) {
	for _, s := range t.files {
		for _, decl := range s.ast.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if ok && !s.generated && f.Recv == nil && f.Name.Name == "init" {
				problems = append(problems, t.at(f)+": no init(): what a program is made of is listed in its main")
			}
		}
	}
	return problems
}

func checkComments(t tree) (problems []string) {
	commented := map[string]bool{} // by directory
	code := map[string]bool{}      // directories with more than tests
	for _, s := range t.files {
		code[s.dir] = code[s.dir] || !s.test
	}
	for _, s := range t.files {
		ok := s.ast.Doc != nil && (!s.test || !code[s.dir])
		commented[s.dir] = commented[s.dir] || ok
	}
	for _, dir := range slices.Sorted(maps.Keys(commented)) {
		generated := !slices.ContainsFunc(t.files, func(s source) bool { return s.dir == dir && !s.generated })
		if !commented[dir] && !generated {
			problems = append(problems, dir+": the package has no comment")
		}
	}
	return problems
}

func checkSizes(t tree) (problems []string) {
	for _, s := range t.files {
		if s.generated {
			continue
		}
		limit := maxFile
		if s.test {
			limit = maxTestFile
		}
		if s.lines > limit {
			problems = append(problems, fmt.Sprintf("%s: %d lines, more than %d: it holds more than one idea", s.path, s.lines, limit))
		}
		for _, decl := range s.ast.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines := t.fset.Position(f.End()).Line - t.fset.Position(f.Pos()).Line + 1
			if lines > maxFunc {
				problems = append(problems, fmt.Sprintf("%s: %s is %d lines long, more than %d", t.at(f), f.Name.Name, lines, maxFunc))
			}
		}
	}
	return problems
}

func checkText(t tree) (problems []string) {
	for _, p := range slices.Sorted(maps.Keys(t.text)) {
		for _, text := range unwanted {
			if i := bytes.Index(t.text[p], []byte(text)); i >= 0 {
				line := 1 + bytes.Count(t.text[p][:i], []byte("\n"))
				problems = append(problems, fmt.Sprintf("%s:%d: holds %q", p, line, text))
			}
		}
	}
	return problems
}

var (
	requireLine = regexp.MustCompile(`(?m)^(?:require)?\s+([a-z0-9.-]+\.[a-z]+/\S+) v\S+(.*)$`)
	explained   = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")
)

// checkDependencies holds go.mod and docs/dependencies.md to each other.
func checkDependencies(t tree) (problems []string) {
	const doc = "docs/dependencies.md"
	required := map[string]bool{}
	for _, m := range requireLine.FindAllSubmatch(t.text["go.mod"], -1) {
		if !bytes.Contains(m[2], []byte("// indirect")) {
			required[string(m[1])] = true
		}
	}
	known := map[string]bool{}
	for _, m := range explained.FindAllSubmatch(t.text[doc], -1) {
		known[string(m[1])] = true
	}
	for _, p := range slices.Sorted(maps.Keys(required)) {
		if !known[p] {
			problems = append(problems, fmt.Sprintf("go.mod: %s is not explained in %s", p, doc))
		}
	}
	for _, p := range slices.Sorted(maps.Keys(known)) {
		if !required[p] {
			problems = append(problems, fmt.Sprintf("%s: go.mod does not require %s", doc, p))
		}
	}
	return problems
}
