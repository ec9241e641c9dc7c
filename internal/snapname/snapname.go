// Package snapname makes the names of snapshots that are given none, of instances and of volumes.
package snapname

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/template"
)

// Next fills a pattern (snapshots.pattern) at a time: a template, in which "%d" then becomes one more than the highest number at its place
// among the names taken. Errors are api.BadRequest.
func Next(ctx context.Context, pattern string, now time.Time, taken []string) (string, error) {
	pattern, err := template.Name(ctx, pattern, now)
	if err != nil {
		return "", api.BadRequest("Invalid snapshots.pattern: %w", err)
	}
	if strings.Count(pattern, "%") > strings.Count(pattern, "%d") || strings.Count(pattern, "%d") > 1 {
		return "", api.BadRequest("Snapshot pattern may contain '%%d' only once")
	}
	if !strings.Contains(pattern, "%d") {
		if !slices.Contains(taken, pattern) {
			return pattern, nil
		}
		pattern += "-%d"
	}
	before, after, _ := strings.Cut(pattern, "%d")
	number := regexp.MustCompile("^" + regexp.QuoteMeta(before) + "([0-9]{1,9})" + regexp.QuoteMeta(after) + "$")
	next := 0
	for _, name := range taken {
		if m := number.FindStringSubmatch(name); m != nil {
			if n, err := strconv.Atoi(m[1]); err == nil && n >= next {
				next = n + 1
			}
		}
	}
	return before + strconv.Itoa(next) + after, nil
}
