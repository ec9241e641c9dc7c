package cli

import (
	"io"
	"strings"
	"unicode"
)

// printable is a text that does nothing to a terminal but show itself. Names that are shown are often somebody else's choice: a guest's root calls its
// interfaces and files what it likes, and a terminal obeys the control characters in them.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return '?'
		}
		return r
	}, text)
}

// printableWriter makes what is written printable.
type printableWriter struct{ w io.Writer }

func (p printableWriter) Write(text []byte) (int, error) {
	if _, err := io.WriteString(p.w, printable(string(text))); err != nil {
		return 0, err
	}
	return len(text), nil
}
