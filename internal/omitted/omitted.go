// Package omitted keeps account of what a copy of files has to be without, so that it is said: nothing is left out in silence.
package omitted

import (
	"context"
	"fmt"
	"strings"
	"sync"
)

// told is how many omissions are named; of the others only their number is kept, however many a hostile tree has.
const told = 10

// List counts omissions and names the first of them. The zero value is empty; it is safe for concurrent use.
type List struct {
	mu    sync.Mutex
	count int
	first []string
}

// Add notes one omission: the file, and what of it is missing and why.
func (l *List) Add(file, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count++; l.count <= told {
		l.first = append(l.first, Shorten(file)+": "+fmt.Sprintf(format, args...))
	}
}

// Count is how many there are.
func (l *List) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// String names the first omissions and counts the rest.
func (l *List) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := strings.Join(l.first, "; ")
	if more := l.count - len(l.first); more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// Warn says of an entity (see Remark) what was left out, if anything was.
func (l *List) Warn(ctx context.Context, kind, entity string) {
	if l.Count() > 0 {
		Say(ctx, Remark{Kind: kind, Entity: entity, Message: l.String()})
	}
}

// Shorten keeps both ends of a long name: what it is called stands at its end.
func Shorten(name string) string {
	const most = 240
	if len(name) <= most {
		return name
	}
	return name[:most/2] + "…" + name[len(name)-most/2:]
}
