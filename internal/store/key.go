package store

import (
	"fmt"
	"net/url"
	"strings"
)

// Key makes the key of a path: each element is escaped, so that a name never becomes a separator.
func (t *Table[T]) Key(path ...string) string { return t.key(path, "") }

func (t *Table[T]) key(path []string, end string) string {
	size := len(t.prefix) + len(path) + len(end)
	for _, element := range path {
		size += len(element)
	}
	var b strings.Builder
	b.Grow(size) // one allocation, but for names that are escaped
	b.WriteString(t.prefix)
	for i, element := range path {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(url.PathEscape(element))
	}
	b.WriteString(end)
	return b.String()
}

func (t *Table[T]) path(key string) ([]string, error) {
	elements := strings.Split(strings.TrimPrefix(key, t.prefix), "/")
	for i, element := range elements {
		plain, err := url.PathUnescape(element)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w: %w", key, ErrCorrupt, err)
		}
		elements[i] = plain
	}
	return elements, nil
}
