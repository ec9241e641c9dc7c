package cli

import (
	"regexp"
	"strings"
)

// patternOf is what the value of a filter matches: itself, or a regular expression. That covers the whole text, unless it has a ^ or a $
// anywhere: whoever writes one has said where it is to begin or end. As in lxc, a|b is what begins with a or ends with b.
func patternOf(value string) func(string) bool { return compilePattern("", value) }

// propertyPattern is the same in any case, as properties are compared by the server of lxc.
func propertyPattern(value string) func(string) bool { return compilePattern("(?i)", value) }

func compilePattern(flags, value string) func(string) bool {
	expr := value
	if !strings.ContainsAny(value, "^$") {
		expr = "^" + value + "$"
	}
	re, err := regexp.Compile(flags + expr)
	return func(text string) bool { return text == value || err == nil && re.MatchString(text) }
}
