package template

import (
	"fmt"
	"strings"
	"time"

	"github.com/flosch/pongo2/v6"
)

// Name fills the pattern of a snapshot's name; it can use creation_date.
func Name(pattern string, created time.Time) (name string, err error) {
	if len(pattern) > 4096 {
		return "", fmt.Errorf("pattern is longer than %d bytes", 4096)
	}
	if !strings.Contains(pattern, "{") {
		return pattern, nil
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("pattern %q: %v", pattern, r)
		}
	}()
	sandbox, err := set()
	if err != nil {
		return "", err
	}
	t, err := sandbox.FromString("{% autoescape off %}" + pattern + "{% endautoescape %}")
	if err != nil {
		return "", fmt.Errorf("pattern %q: %w", pattern, err)
	}
	var b strings.Builder
	if err := t.ExecuteWriterUnbuffered(pongo2.Context{"creation_date": created}, &limitedWriter{w: &b, left: 4096}); err != nil {
		return "", fmt.Errorf("pattern %q: %w", pattern, err)
	}
	return b.String(), nil
}
