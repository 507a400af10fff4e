package config

import (
	"errors"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// readFile sets what the file says. Whatever is not an option is a problem, with its place.
func (l *loader) readFile(name string, data []byte) {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		at, text := Origin{Name: name}, err.Error()
		var yerr yaml.Error
		if errors.As(err, &yerr) {
			at, text = l.at(yerr.GetToken()), yerr.GetMessage()
		}
		l.problems.add(at, "%s", text)
		return
	}
	var docs []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.CommentType {
			docs = append(docs, doc.Body)
		}
	}
	if len(docs) > 1 {
		l.problems.add(l.at(docs[1].GetToken()), "a second document begins here; the configuration is one")
	}
	if len(docs) == 0 {
		return
	}
	l.readSection(docs[0], reflect.ValueOf(l.config).Elem(), "")
}

// readSection sets the options of a struct from a mapping. path is "" or ends with a dot.
func (l *loader) readSection(node ast.Node, v reflect.Value, path string) {
	byKey := make(map[string]reflect.Value)
	var keys []string
	for i := range v.NumField() {
		if key, ok := v.Type().Field(i).Tag.Lookup("key"); ok {
			byKey[key] = v.Field(i)
			keys = append(keys, key)
		}
	}
	for _, entry := range l.entries(node, strings.TrimSuffix(path, ".")) {
		key := entry.Key.GetToken()
		field, ok := byKey[key.Value]
		switch {
		case !ok:
			l.problems.add(l.at(key), "unknown key %q%s", key.Value, suggestion(key.Value, keys))
		case path == "" && key.Value == clustersKey:
			l.readClusters(entry.Value)
		case isSection(field.Type()):
			l.readSection(entry.Value, field, path+key.Value+".")
		default:
			l.readOption(entry.Value, option{path: path + key.Value, value: field})
		}
	}
}

func (l *loader) readClusters(node ast.Node) {
	for _, entry := range l.entries(node, clustersKey) {
		key := entry.Key.GetToken()
		cl := l.cluster(key.Value, l.at(key))
		l.readSection(entry.Value, reflect.ValueOf(cl).Elem(), clustersKey+"."+key.Value+".")
	}
}

// entries returns what a mapping holds; anything else is a problem.
func (l *loader) entries(node ast.Node, what string) []*ast.MappingValueNode {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	if what == "" {
		what = "the configuration"
	}
	l.problems.add(l.at(node.GetToken()), "%s is a section: write its options below it, each as key: value", what)
	return nil
}

func (l *loader) readOption(node ast.Node, o option) {
	at := l.at(node.GetToken())
	texts, why := l.scalars(node, o)
	if why == "" {
		if err := o.set(texts...); err != nil {
			why = err.Error()
		}
	}
	if why != "" {
		l.problems.add(at, "%s: %s", o.path, why)
		return
	}
	l.config.origins[o.path] = at
}

// scalars returns the texts of a value, or why they are none.
func (l *loader) scalars(node ast.Node, o option) (texts []string, why string) {
	nodes := []ast.Node{node}
	if seq, ok := node.(*ast.SequenceNode); ok {
		if !o.list() {
			return nil, "it is a list where one value is expected"
		}
		nodes = seq.Values
	} else if o.list() {
		return nil, "it is one value where a list is expected: write it in brackets"
	}
	_, isInt := o.value.Interface().(int)
	number := isInt || o.value.CanUint()
	for _, n := range nodes {
		switch n := n.(type) {
		case *ast.StringNode:
			if number && n.Token.Type != token.StringType {
				return nil, "it is a quoted text where a number is expected"
			}
			texts = append(texts, n.Value)
		case *ast.LiteralNode:
			texts = append(texts, n.Value.Value)
		case *ast.IntegerNode:
			texts = append(texts, n.Token.Value)
		case *ast.FloatNode:
			texts = append(texts, n.Token.Value)
		case *ast.BoolNode:
			if _, isBool := o.value.Interface().(bool); !isBool {
				return nil, "it is true or false where something else is expected: put a text in quotes"
			}
			texts = append(texts, n.Token.Value)
		case *ast.NullNode:
			return nil, "it has no value: give it one or remove the key"
		case *ast.AnchorNode, *ast.AliasNode:
			return nil, "anchors and aliases are not supported"
		default:
			return nil, "it is a section where one value is expected"
		}
	}
	return texts, ""
}

// at returns the place of a token in the file.
func (l *loader) at(t *token.Token) Origin {
	o := Origin{Name: l.config.file}
	if t != nil && t.Position != nil {
		o.Line, o.Column = t.Position.Line, t.Position.Column
	}
	return o
}
