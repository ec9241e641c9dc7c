package template

import (
	"bytes"
	"regexp"
	"unicode/utf8"
)

// variable is all that a simple template has beside text: a name, or the value of a key in one of the maps.
var variable = regexp.MustCompile(`\{\{ *([a-z]+)(?:\.([a-z][a-z0-9_]*))? *\}\}`)

// words are names that the language keeps for itself.
var words = map[string]bool{"in": true, "and": true, "or": true, "not": true, "true": true, "false": true, "as": true, "export": true}

// Simple renders a template that is nothing but text and variables, as nearly all images have for their host name: it prints
// little more than its own length times the longest value, and takes no process. Whatever it is not sure of it leaves alone.
func Simple(job Job) ([]byte, bool) {
	if job.Created != nil && bytes.IndexByte(job.Source, '{') >= 0 || !utf8.Valid(job.Source) {
		return nil, false
	}
	var out []byte
	rest := job.Source
	for {
		at := variable.FindSubmatchIndex(rest)
		if at == nil {
			break
		}
		if !plain(rest[:at[0]]) {
			return nil, false
		}
		out = append(out, rest[:at[0]]...)
		name, key := string(rest[at[2]:at[3]]), ""
		if at[4] >= 0 {
			key = string(rest[at[4]:at[5]])
		}
		value, ok := job.Vars.lookup(name, key)
		if !ok || len(out)+len(value) > MaxOutput {
			return nil, false
		}
		out, rest = append(out, value...), rest[at[1]:]
	}
	if !plain(rest) || len(out)+len(rest) > job.MaxPrinted() {
		return nil, false
	}
	return append(out, rest...), true
}

// plain tells text in which the language sees nothing of its own. (Its lexer takes some control characters for the end.)
func plain(text []byte) bool {
	return bytes.IndexFunc(text, func(r rune) bool {
		return r == '{' || r == '}' || r < ' ' && r != '\t' && r != '\n' && r != '\r'
	}) < 0
}

// lookup is the value of a variable that is a string. A key that is not there prints nothing.
func (v Vars) lookup(name, key string) (value string, ok bool) {
	if words[key] {
		return "", false
	}
	if key == "" {
		switch name {
		case "trigger":
			return v.Trigger, true
		case "path":
			return v.Path, true
		}
		return "", false
	}
	switch name {
	case "container", "instance":
		return v.Instance[key], true
	case "config":
		return v.Config[key], true
	case "properties":
		return v.Properties[key], true
	}
	return "", false
}
