// Package filter is the language of ?filter= on collections: clauses FIELD eq|ne VALUE, joined by and/or from left
// to right, each with an optional not before it. Values may be quoted, and match literally or as a regular expression,
// in any case; one without ^ and $ has to match whole.
package filter

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// maxLength bounds what is parsed; it also bounds the cost of the regular expressions (RE2: linear).
const maxLength = 16 << 10

// Clauses is a parsed filter. A nil or empty one matches everything.
type Clauses struct {
	list []clause
}

type clause struct {
	or    bool // joined to what is before it by "or" rather than "and"
	not   bool // "not" before it, or the operator "ne"
	field string
	value string
	match *regexp.Regexp // nil where the value is no regular expression
}

// Parse reads a filter. Errors say what is wrong and are worded as LXD's, without its prefix "Invalid filter: ".
func Parse(text string) (*Clauses, error) {
	if len(text) > maxLength {
		return nil, fmt.Errorf("longer than %d bytes", maxLength)
	}
	words, err := split(text)
	if err != nil {
		return nil, err
	}
	clauses := &Clauses{}
	for or := false; len(words) > 0; {
		one, rest, err := parseClause(words)
		if err != nil {
			return nil, err
		}
		one.or = or
		clauses.list = append(clauses.list, one)
		if len(rest) == 0 {
			break
		}
		switch {
		case rest[0].is("and"):
			or = false
		case rest[0].is("or"):
			or = true
		default:
			return nil, errors.New("invalid clause composition")
		}
		if words = rest[1:]; len(words) == 0 {
			return nil, errors.New("unterminated compound clause")
		}
	}
	return clauses, nil
}

func parseClause(words []word) (clause, []word, error) {
	var c clause
	if words[0].is("not") {
		c.not = true
		if words = words[1:]; len(words) == 0 {
			return c, nil, errors.New("incomplete not clause")
		}
	}
	c.field = words[0].text
	if len(words) < 2 {
		return c, nil, errors.New("clause has no operator")
	}
	switch {
	case words[1].is("eq"):
	case words[1].is("ne"):
		c.not = !c.not
	case words[0].is("not"):
		return c, nil, errors.New("invalid clause composition")
	default:
		return c, nil, fmt.Errorf("unknown operator %q (not one of [eq ne])", words[1].text)
	}
	if len(words) < 3 {
		return c, nil, errors.New("clause has no value")
	}
	c.value = words[2].text
	c.match = pattern(c.value)
	return c, words[3:], nil
}

// pattern covers the whole text, unless the expression has a ^ or a $ anywhere; nil for what is no regular expression. As in LXD, a|b is
// what begins with a or ends with b.
func pattern(expr string) *regexp.Regexp {
	if !strings.ContainsAny(expr, "^$") {
		expr = "^" + expr + "$"
	}
	re, err := regexp.Compile("(?is)" + expr)
	if err != nil {
		return nil
	}
	return re
}

// word is one token. A quoted one is never a keyword.
type word struct {
	text   string
	quoted bool
}

func (w word) is(keyword string) bool { return !w.quoted && strings.EqualFold(w.text, keyword) }

func split(text string) ([]word, error) {
	var words []word
	for {
		text = strings.TrimLeft(text, " \t\r\n")
		if text == "" {
			return words, nil
		}
		if text[0] == '"' {
			inside, rest, ok := strings.Cut(text[1:], `"`)
			if !ok || rest != "" && !strings.ContainsRune(" \t\r\n", rune(rest[0])) {
				return nil, errors.New("unterminated quote")
			}
			words = append(words, word{inside, true})
			text = rest
			continue
		}
		end := strings.IndexAny(text, " \t\r\n")
		if end < 0 {
			end = len(text)
		}
		words = append(words, word{text[:end], false})
		text = text[end:]
	}
}
