package cli

import "strings"

// argument is one argument of a command, as its usage line has it.
type argument struct {
	name     string // "<instance>", "<key>=<value>"; "<remote>:" where a remote alone is meant
	remote   bool   // may have a remote in front
	optional bool   // may be left out although others follow
	many     bool   // stands for all that follow, too
}

// argumentsOf reads a usage line: "set [<remote>:][<instance>] <key>=<value>...".
func argumentsOf(use string) (out []argument) {
	for i, word := range usageWords(use) {
		if i == 0 || word == "[flags]" || word == "[--]" {
			continue
		}
		a := argument{}
		word, behind := strings.CutSuffix(word, "...")            // "<key>..."
		word, within := strings.CutSuffix(unwrapped(word), "...") // "[<key>...]"
		a.many = behind || within
		if rest, ok := strings.CutPrefix(word, "[<remote>:]"); ok {
			a.remote, word = true, unwrapped(rest)
			a.optional = word != rest
		}
		if a.name = word; word == "key=value" {
			a.name = "<key>=<value>"
		}
		// "<image> [<image>...]" is one argument that may come more than once.
		if last := len(out) - 1; last >= 0 && a.many && out[last].name == a.name {
			out[last].many = true
			continue
		}
		out = append(out, a)
	}
	return out
}

// usageWords splits a usage line at spaces that are not inside brackets.
func usageWords(use string) (words []string) {
	depth := 0
	for _, part := range strings.Fields(use) {
		if depth > 0 {
			words[len(words)-1] += " " + part
		} else {
			words = append(words, part)
		}
		depth += strings.Count(part, "<") + strings.Count(part, "[") - strings.Count(part, ">") - strings.Count(part, "]")
	}
	return words
}

// unwrapped takes off brackets that are around all of a word.
func unwrapped(word string) string {
	if !strings.HasPrefix(word, "[") || !strings.HasSuffix(word, "]") {
		return word
	}
	depth := 0
	for i, r := range word {
		switch r {
		case '[':
			depth++
		case ']':
			depth--
		}
		if depth == 0 && i < len(word)-1 {
			return word
		}
	}
	return word[1 : len(word)-1]
}
