package apparmor

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

// Rule is one line of a profile, without the comma at its end. It is made by the functions below alone: what comes from outside
// (a path, a name) passes their check, so that nothing of it can become another rule.
type Rule struct {
	text string
	err  error
}

func (r Rule) denied() Rule {
	r.text = "deny " + r.text
	return r
}

// Deny turns a rule that allows into one that denies. In AppArmor a rule that denies wins over all that allow.
func Deny(r Rule) Rule { return r.denied() }

// Fixed is a rule whose text is a constant of this program; nothing from outside may be part of it.
func Fixed(text string) Rule {
	if strings.ContainsAny(text, "\n\r\x00") {
		return Rule{err: fmt.Errorf("AppArmor rule %q is not one line", text)}
	}
	return Rule{text: text}
}

// unsafe are characters that mean something in AppArmor's language (apparmor.d(5)): in a quoted path, too.
const unsafe = "\"\\?*[]{}^@#,"

// literal checks a path that is to mean itself: absolute, clean, and without a character that the language gives a meaning to. A folder
// ends in a slash.
func literal(p string) (string, error) {
	clean := path.Clean(p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	switch {
	case !path.IsAbs(p) || clean != p:
		return "", fmt.Errorf("path %q of an AppArmor rule is not absolute and clean", p)
	case strings.ContainsAny(p, unsafe) || strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", fmt.Errorf("path %q cannot be part of an AppArmor rule: it may hold no line break, quote, or any of %s", p, unsafe)
	}
	return p, nil
}

var filePerms = regexp.MustCompile(`^[rwalkmixpcuUPC]+$`)

// File gives rights on one file: letters of apparmor.d(5), such as "r", "rw", "mrix".
func File(p, perms string) Rule {
	p, err := literal(p)
	if err == nil && !filePerms.MatchString(perms) {
		err = fmt.Errorf("%q are no rights on files", perms)
	}
	return Rule{text: `"` + p + `" ` + perms, err: err}
}

// Tree gives rights on everything below a folder, and reading of the folder itself where perms hold that.
func Tree(dir, perms string) []Rule {
	dir = strings.TrimSuffix(dir, "/") + "/"
	r := File(dir, perms)
	below := Rule{text: strings.Replace(r.text, `/" `, `/**" `, 1), err: r.err}
	if strings.Contains(perms, "r") {
		return []Rule{File(dir, "r"), below}
	}
	return []Rule{below}
}

var word = regexp.MustCompile(`^[a-z0-9_]+$`)

// words is a rule made of a keyword and plain words: Capability("net_admin"), Network("inet", "dgram").
func words(keyword string, list []string) Rule {
	for _, w := range list {
		if !word.MatchString(w) {
			return Rule{err: fmt.Errorf("%q cannot be part of an AppArmor rule", w)}
		}
	}
	return Rule{text: strings.Join(append([]string{keyword}, list...), " ")}
}

// Capability gives capabilities by their names without "CAP_", in lower case; all of them, given none.
func Capability(names ...string) Rule { return words("capability", names) }

// Network gives sockets of a family and, where named, a type: Network("inet", "dgram"); all, given nothing.
func Network(family ...string) Rule { return words("network", family) }
