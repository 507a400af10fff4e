package restore

import (
	"slices"
	"strings"

	"tidemark/internal/sqltext"
)

// deed is what a statement does, as far as it can be asked for: its verb in one form, whichever it was written in,
// and what it is about.
type deed struct {
	verb  string // in capitals: "DROP TABLE"; "" of a statement that is none of these
	about []subject
	grant *grant          // of GRANT and REVOKE
	rest  []sqltext.Token // what follows, and is not understood
}

// subject is what a statement is about.
type subject struct {
	db, name string
	on       string // the table of an index
}

// String shows it as a statement would name it.
func (s subject) String() string {
	text := quote(s.name)
	if s.on != "" {
		text += " ON " + qualified(s.db, s.on)
	} else {
		text = qualified(s.db, s.name)
	}
	return text
}

func qualified(db, name string) string {
	if db == "" {
		return quote(name)
	}
	return quote(db) + "." + quote(name)
}

// grant is what a GRANT or a REVOKE says.
type grant struct {
	privileges []string // in capitals, or roles
	on         *subject // nil if it is about roles; "*" is all
	who        []string // without the host where that is any
}

// reader reads tokens.
type reader struct {
	db   string // the default one
	list []sqltext.Token
}

// peek is the next word in capitals; "" if there is none, or if it is no word.
func (r *reader) peek() string {
	if len(r.list) == 0 || r.list[0].Kind != sqltext.Word {
		return ""
	}
	return strings.ToUpper(r.list[0].Text)
}

// is reports whether the next token is a symbol, and takes it.
func (r *reader) is(s string) bool {
	if len(r.list) == 0 || r.list[0].Kind != sqltext.Symbol || r.list[0].Text != s {
		return false
	}
	r.list = r.list[1:]
	return true
}

// take takes the next word if it is one of these.
func (r *reader) take(words ...string) bool {
	if w := r.peek(); w == "" || !slices.Contains(words, w) {
		return false
	}
	r.list = r.list[1:]
	return true
}

// identifier takes a name, quoted or not.
func (r *reader) identifier() (string, bool) {
	if len(r.list) == 0 || r.list[0].Kind == sqltext.Symbol {
		return "", false
	}
	t := r.list[0]
	r.list = r.list[1:]
	return t.Text, true
}

// subject takes a name, with its database or the default one.
func (r *reader) subject() (s subject, ok bool) {
	if s.name, ok = r.identifier(); !ok {
		return s, false
	}
	s.db = r.db
	if len(r.list) > 1 && r.list[0] == (sqltext.Token{Kind: sqltext.Symbol, Text: "."}) && r.list[1].Kind != sqltext.Symbol {
		s.db, s.name = s.name, r.list[1].Text
		r.list = r.list[2:]
	}
	return s, true
}

// account takes an account or a role: 'app'@'%', app.
func (r *reader) account() (string, bool) {
	who, ok := r.identifier()
	if !ok {
		return "", false
	}
	if r.is("@") {
		host, _ := r.identifier()
		if host != "%" {
			who += "@" + host
		}
	}
	if strings.EqualFold(who, "CURRENT_USER") && r.is("(") {
		r.is(")")
	}
	return who, true
}

// kinds are what can be created, altered and dropped; those that are true lie in no database.
var kinds = map[string]bool{"TABLE": false, "VIEW": false, "TRIGGER": false, "EVENT": false, "PROCEDURE": false, "FUNCTION": false, "INDEX": false,
	"SEQUENCE": false, "PACKAGE": false, "DATABASE": true, "USER": true, "ROLE": true, "SERVER": true, "TABLESPACE": true}

// parse reads what a statement does.
func parse(db, text string) deed {
	r := &reader{db, sqltext.Lex(text, mostTokens)}
	verb := r.peek()
	if verb == "" {
		return deed{}
	}
	r.list = r.list[1:]
	var d deed
	switch verb {
	case "CREATE", "ALTER", "DROP":
		d = r.definition(verb)
	case "RENAME":
		d = r.rename()
	case "ANALYZE", "OPTIMIZE", "REPAIR":
		r.take("NO_WRITE_TO_BINLOG", "LOCAL")
		if r.take("TABLE", "TABLES") {
			d = deed{verb: verb + " TABLE", about: r.subjects()}
		}
	case "TRUNCATE":
		r.take("TABLE")
		d = deed{verb: "TRUNCATE TABLE", about: r.one()}
	case "INSERT", "REPLACE":
		for r.take("LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE") {
		}
		r.take("INTO")
		d = deed{verb: verb + " INTO", about: r.one()}
	case "UPDATE":
		for r.take("LOW_PRIORITY", "IGNORE") {
		}
		d = deed{verb: verb, about: r.subjects()}
	case "DELETE":
		for r.take("LOW_PRIORITY", "QUICK", "IGNORE") {
		}
		r.take("FROM")
		d = deed{verb: "DELETE FROM", about: r.subjects()}
	case "GRANT", "REVOKE":
		d = r.grant(verb)
	}
	r.is(";")
	d.rest = r.list
	return d
}

// definition reads on behind CREATE, ALTER or DROP.
func (r *reader) definition(verb string) deed {
	for {
		switch {
		case r.take("DEFINER"):
			r.is("=")
			r.account()
		case r.take("ALGORITHM"):
			r.is("=")
			r.identifier()
		case r.take("SQL"):
			r.take("SECURITY")
			r.identifier()
		case r.take("TEMPORARY"):
			verb += " TEMPORARY"
		case r.take("OR", "REPLACE", "UNIQUE", "FULLTEXT", "SPATIAL", "ONLINE", "OFFLINE", "IGNORE", "AGGREGATE", "UNDO"):
		default:
			return r.defined(verb)
		}
	}
}

// defined reads on at the kind of what is created, altered or dropped.
func (r *reader) defined(verb string) deed {
	kind := r.peek()
	switch kind {
	case "SCHEMA":
		kind = "DATABASE"
	case "TABLES":
		kind = "TABLE"
	}
	global, ok := kinds[kind]
	if !ok {
		return deed{}
	}
	r.list = r.list[1:]
	if kind == "PACKAGE" && r.take("BODY") {
		kind += " BODY"
	}
	if r.take("IF") {
		r.take("NOT")
		r.take("EXISTS")
	}
	d := deed{verb: verb + " " + kind}
	switch {
	case kind == "USER" || kind == "ROLE":
		d.about = r.accounts()
	case kind == "INDEX":
		d.about = r.index()
	case global:
		r.db = ""
		d.about = r.one()
	case strings.HasPrefix(verb, "DROP"):
		d.about = r.subjects()
		r.take("RESTRICT", "CASCADE")
	default:
		d.about = r.one()
	}
	return d
}

// rename reads on behind RENAME: what is renamed is what it is about.
func (r *reader) rename() deed {
	if r.take("USER") {
		return deed{verb: "RENAME USER", about: r.accounts()}
	}
	if !r.take("TABLE", "TABLES") {
		return deed{}
	}
	d := deed{verb: "RENAME TABLE"}
	for {
		d.about = append(d.about, r.one()...)
		if !r.take("TO") {
			return d
		}
		r.one() // its new name
		if !r.is(",") {
			return d
		}
	}
}

func (r *reader) one() []subject {
	if s, ok := r.subject(); ok {
		return []subject{s}
	}
	return nil
}

// subjects reads names with commas between them.
func (r *reader) subjects() (list []subject) {
	for {
		s, ok := r.subject()
		if !ok {
			return list
		}
		list = append(list, s)
		if !r.is(",") {
			return list
		}
	}
}

func (r *reader) accounts() (list []subject) {
	for {
		who, ok := r.account()
		if !ok {
			return list
		}
		list = append(list, subject{name: who})
		if !r.is(",") {
			return list
		}
	}
}

// index reads the name of an index, and of its table.
func (r *reader) index() []subject {
	i, ok := r.identifier()
	if !ok {
		return nil
	}
	if r.take("USING") {
		r.identifier()
	}
	s := subject{name: i}
	if r.take("ON") {
		t, _ := r.subject()
		s.db, s.on = t.db, t.name
	}
	return []subject{s}
}

// grant reads on behind GRANT or REVOKE.
func (r *reader) grant(verb string) deed {
	g := new(grant)
	if verb == "REVOKE" && r.take("IF") {
		r.take("EXISTS")
	}
	var words []string
	depth := 0
	end := func() {
		if p := strings.TrimSuffix(strings.Join(words, " "), " @ %"); p != "" {
			if p == "ALL PRIVILEGES" {
				p = "ALL"
			}
			g.privileges = append(g.privileges, p)
		}
		words = nil
	}
	for len(r.list) > 0 && (depth > 0 || !slices.Contains([]string{"ON", "TO", "FROM"}, r.peek()) && r.list[0].Text != ";") {
		t := r.list[0]
		r.list = r.list[1:]
		switch {
		case t.Kind == sqltext.Symbol && t.Text == "," && depth == 0:
			end()
			continue
		case t.Kind == sqltext.Symbol && t.Text == "(":
			depth++
		case t.Kind == sqltext.Symbol && t.Text == ")":
			depth--
		}
		words = append(words, strings.ToUpper(t.Text))
	}
	end()
	if r.take("ON") {
		r.take("TABLE", "FUNCTION", "PROCEDURE", "PACKAGE")
		g.on = r.granted()
	}
	if r.take("TO", "FROM") {
		for _, s := range r.accounts() {
			g.who = append(g.who, s.name)
		}
	}
	return deed{verb: verb, grant: g}
}

// granted reads what privileges are granted on: shop.orders, shop.*, *.*.
func (r *reader) granted() *subject {
	part := func() string {
		if r.is("*") {
			return "*"
		}
		s, _ := r.identifier()
		return s
	}
	s := &subject{db: r.db, name: part()}
	if r.is(".") {
		s.db, s.name = s.name, part()
	}
	return s
}

func (g *grant) String() string {
	s := strings.Join(g.privileges, ", ")
	if g.on != nil {
		part := func(name string) string {
			if name == "*" {
				return name
			}
			return quote(name)
		}
		s += " ON "
		if g.on.db != "" {
			s += part(g.on.db) + "."
		}
		s += part(g.on.name)
	}
	return strings.TrimSpace(s)
}

// means reports whether a statement of the log says all that g says.
func (g *grant) means(said *grant) bool {
	for _, p := range g.privileges {
		if !slices.Contains(said.privileges, p) {
			return false
		}
	}
	for _, w := range g.who {
		if !slices.Contains(said.who, w) {
			return false
		}
	}
	return g.on == nil || said.on != nil && g.on.name == said.on.name && (g.on.db == "" || g.on.db == said.on.db)
}
