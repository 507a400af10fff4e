// Package sqltext splits statements into their words. It knows no grammar: its callers do.
package sqltext

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Token is a word, a quoted name or text, or a character of a statement.
type Token struct {
	Kind Kind
	Text string // unquoted
}

// Kind is what a token is.
type Kind int

// The kinds of tokens.
const (
	Word    Kind = iota
	Name         // in backticks
	Literal      // in single or double quotes
	Symbol       // any other character
)

// Lex splits a statement, without its comments, into so many tokens at most. What stands in a comment for servers
// only, /*!50017 DEFINER=... */, is part of the statement.
func Lex(text string, most int) []Token {
	var list []Token
	for len(list) < most {
		text = strings.TrimLeftFunc(text, unicode.IsSpace)
		switch {
		case text == "":
			return list
		case strings.HasPrefix(text, "/*!"), strings.HasPrefix(text, "/*M!"):
			_, text, _ = strings.Cut(text, "!")
			text = strings.TrimLeft(text, "0123456789")
			continue
		case strings.HasPrefix(text, "*/"):
			text = text[2:]
			continue
		case strings.HasPrefix(text, "/*"):
			var ok bool
			if _, text, ok = strings.Cut(text, "*/"); !ok {
				return list
			}
			continue
		case text[0] == '#', text == "--", strings.HasPrefix(text, "--") && unicode.IsSpace(rune(text[2])):
			_, text, _ = strings.Cut(text, "\n")
			continue
		}
		t, n := first(text)
		list, text = append(list, t), text[n:]
	}
	return list
}

// WithoutSettings returns a statement without MariaDB's SET STATEMENT … FOR before it, which is for that statement alone.
func WithoutSettings(list []Token) []Token {
	is := func(i int, word string) bool {
		return i < len(list) && list[i].Kind == Word && strings.EqualFold(list[i].Text, word)
	}
	if !is(0, "SET") || !is(1, "STATEMENT") {
		return list
	}
	for i := 2; i < len(list); i++ {
		if is(i, "FOR") {
			return list[i+1:]
		}
	}
	return nil
}

// first reads the token that a text begins with, and its length.
func first(text string) (Token, int) {
	switch text[0] {
	case '`':
		return quoted(Name, text)
	case '\'', '"':
		return quoted(Literal, text)
	}
	end := strings.IndexFunc(text, func(r rune) bool { return r != '_' && r != '$' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	switch {
	case end < 0:
		return Token{Word, text}, len(text)
	case end == 0:
		_, n := utf8.DecodeRuneInString(text)
		return Token{Symbol, text[:n]}, n
	}
	return Token{Word, text[:end]}, end
}

// quoted reads a token in the quotes that a text begins with. A text that is cut off ends it.
func quoted(kind Kind, text string) (Token, int) {
	q := text[0]
	var b strings.Builder
	i := 1
	for ; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && kind != Name && i+1 < len(text):
			i++
		case c == q && i+1 < len(text) && text[i+1] == q:
			i++
		case c == q:
			return Token{kind, b.String()}, i + 1
		}
		b.WriteByte(text[i])
	}
	return Token{kind, b.String()}, i
}
