// Package date keeps dates within what can be written down.
package date

import "time"

// The first and last instants that RFC 3339, and so JSON, has a date for in UTC.
var (
	first = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	last  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// UTC is t in UTC, or the last or first date there is: clients can name later ones, in other time zones or as an age of a million years.
func UTC(t time.Time) time.Time {
	switch {
	case t.After(last):
		return last
	case t.Before(first):
		return first
	}
	return t.UTC()
}
