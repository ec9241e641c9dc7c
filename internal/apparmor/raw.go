package apparmor

import (
	"regexp"
	"strings"

	"github.com/berthd/berth/api"
)

// CheckRaw refuses text that could end the profile that it is put into and begin another one, or have the parser read other files of the
// host, parts of which it would show in its errors. Whether the text is valid only the parser can tell; see Host.Check.
func CheckRaw(raw string) error {
	if strings.ContainsRune(raw, 0) {
		return api.BadRequest("raw.apparmor holds NUL")
	}
	depth, n := 0, 0
	for line := range strings.Lines(raw) {
		n++
		code, closed := withoutQuotes(line)
		if !closed {
			return api.BadRequest("raw.apparmor, line %d: a quote is not closed", n)
		}
		if include.MatchString(code) {
			return api.BadRequest("raw.apparmor, line %d: files of the host cannot be included", n)
		}
		code, _, _ = strings.Cut(code, "#")
		for _, c := range code {
			switch c {
			case '{':
				depth++
			case '}':
				depth--
			}
			if depth < 0 {
				return api.BadRequest("raw.apparmor, line %d: a brace is closed that was not opened", n)
			}
		}
	}
	if depth != 0 {
		return api.BadRequest("raw.apparmor: a brace is not closed")
	}
	return nil
}

// include finds the statement in both of its forms.
var include = regexp.MustCompile(`(^|[^A-Za-z0-9_./*-])#?include([^A-Za-z0-9_./*-]|$)`)

// withoutQuotes drops quoted text and escaped characters from a line; closed tells whether the last quote was closed. A quote in a
// comment does not count.
func withoutQuotes(line string) (code string, closed bool) {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '#':
			b.WriteString(line[i:])
			return b.String(), true
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), !quoted
}
