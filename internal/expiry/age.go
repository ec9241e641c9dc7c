package expiry

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/berthd/berth/internal/date"
)

var errAge = errors.New("Invalid expiry expression")

var agePart = regexp.MustCompile(`^([0-9]{1,6})([SMHdwmy])$`)

// Age is how old something gets before it expires, in calendar units: a month from now is not a fixed number of hours.
type Age struct {
	years, months, days int
	rest                time.Duration
}

// Parse reads "1M 2H 3d 4w 5m 6y": minutes, hours, days, weeks, months, years, each at most once.
func Parse(v string) (Age, error) {
	var e Age
	seen := map[string]bool{}
	for _, field := range strings.Fields(v) {
		m := agePart.FindStringSubmatch(field)
		if m == nil || seen[m[2]] {
			return Age{}, errAge
		}
		seen[m[2]] = true
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return Age{}, errAge
		}
		switch m[2] {
		case "S":
			e.rest += time.Duration(n) * time.Second
		case "M":
			e.rest += time.Duration(n) * time.Minute
		case "H":
			e.rest += time.Duration(n) * time.Hour
		case "d":
			e.days += n
		case "w":
			e.days += 7 * n
		case "m":
			e.months += n
		case "y":
			e.years += n
		}
	}
	return e, nil
}

// After is the instant that the age ends, for something made at t; the zero time for no age at all.
func (e Age) After(t time.Time) time.Time {
	if e == (Age{}) {
		return time.Time{}
	}
	return date.UTC(t.AddDate(e.years, e.months, e.days).Add(e.rest))
}
