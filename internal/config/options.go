package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// option is one leaf of the configuration: a place in the structs.
type option struct {
	path   string // "segment.max_age", below a cluster relative to it
	value  reflect.Value
	preset string // the default as it would be written
	doc    string
}

// list reports whether several values may be given.
func (o option) list() bool { return o.value.Kind() == reflect.Slice }

// options returns the leaves of a struct in order. prefix, if any, ends with a dot.
func options(v reflect.Value, prefix string) (all []option) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key, ok := f.Tag.Lookup("key")
		switch {
		case !ok || key == clustersKey:
		case isSection(f.Type):
			all = append(all, options(v.Field(i), prefix+key+".")...)
		default:
			all = append(all, option{prefix + key, v.Field(i), f.Tag.Get("default"), f.Tag.Get("doc")})
		}
	}
	return all
}

const clustersKey = "clusters"

// isSection reports whether a field holds options, rather than being one.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// set gives the option the values written in text; only a list may have more than one.
func (o option) set(texts ...string) error {
	if o.list() {
		list := reflect.MakeSlice(o.value.Type(), len(texts), len(texts))
		for i, text := range texts {
			if err := setScalar(list.Index(i), text); err != nil {
				return err
			}
		}
		o.value.Set(list)
		return nil
	}
	if len(texts) != 1 {
		return fmt.Errorf("%d values where one is expected", len(texts))
	}
	v := reflect.New(o.value.Type()).Elem() // what is refused leaves the option as it was
	err := setScalar(v, texts[0])
	if err == nil {
		o.value.Set(v)
	}
	return err
}

func setScalar(v reflect.Value, text string) (err error) {
	switch p := v.Addr().Interface().(type) {
	case encoding.TextUnmarshaler:
		return p.UnmarshalText([]byte(text))
	case *string:
		*p = text
	case *time.Duration:
		*p, err = parseDuration(text)
	case *bool:
		if *p = text == "true"; !*p && text != "false" {
			err = fmt.Errorf("%q is neither true nor false", text)
		}
	case *int:
		if *p, err = strconv.Atoi(text); err != nil {
			err = fmt.Errorf("%q is not a whole number", text)
		}
	case *uint32:
		var n uint64
		if n, err = strconv.ParseUint(text, 10, 32); err != nil {
			err = fmt.Errorf("%q is not a whole number from 0 to 4294967295", text)
		}
		*p = uint32(n)
	default:
		panic(fmt.Sprintf("an option of type %s cannot be read", v.Type()))
	}
	return err
}

// text returns the option's value as it would be written.
func (o option) text() string {
	if !o.list() {
		return scalarText(o.value)
	}
	parts := make([]string, o.value.Len())
	for i := range parts {
		parts[i] = scalarText(o.value.Index(i))
	}
	return strings.Join(parts, ", ")
}

func scalarText(v reflect.Value) string {
	if d, ok := v.Interface().(time.Duration); ok {
		return formatDuration(d)
	}
	return fmt.Sprint(v.Interface())
}

// preset sets all options of a struct to their defaults.
func preset(v reflect.Value) {
	for _, o := range options(v, "") {
		if o.preset == "" {
			continue
		}
		if err := o.set(o.preset); err != nil {
			panic(fmt.Sprintf("the default of %s: %v", o.path, err))
		}
	}
}

// Setting is one effective value and where it comes from.
type Setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin string `json:"origin"` // "default", "file:line:column", an environment variable, a flag
}

// Settings returns all effective values in the order of the documentation. Of a password it says
// only where it comes from.
func (c *Config) Settings() []Setting {
	var all []Setting
	add := func(prefix string, v reflect.Value) {
		for _, o := range options(v, prefix) {
			all = append(all, Setting{o.path, o.text(), c.origins[o.path].String()})
		}
	}
	add("", reflect.ValueOf(c).Elem())
	for _, cl := range c.Clusters {
		prefix := clustersKey + "." + cl.Name + "."
		add(prefix, reflect.ValueOf(cl).Elem())
		password := Setting{prefix + "password", "(none)", "default"}
		if from := cl.PasswordFrom(); from != "" {
			password.Value, password.Origin = "(hidden)", from
		}
		all = append(all, password)
	}
	return all
}

// Doc is one line of the documentation's table of options.
type Doc struct {
	Key, Default, Env, Text string
}

// Docs returns the documentation of every option; NAME stands for the name of a cluster.
func Docs() []Doc {
	var all []Doc
	add := func(prefix string, v reflect.Value) {
		for _, o := range options(v, prefix) {
			all = append(all, Doc{o.path, o.preset, envName(o.path), o.doc})
		}
	}
	add("", reflect.ValueOf(new(Config)).Elem())
	add(clustersKey+".NAME.", reflect.ValueOf(new(Cluster)).Elem())
	return all
}
