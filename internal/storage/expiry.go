package storage

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/berthd/berth/internal/date"
)

var expiryTerm = regexp.MustCompile(`^([0-9]{1,6})(M|H|d|w|m|y)$`)

// isExpiry checks a value such as "1M 2H 3d 4w 5m 6y": minutes, hours, days, weeks, months, years.
func isExpiry(value string) error {
	_, err := expiryFrom(time.Unix(0, 0), value)
	return err
}

// expiryFrom is the time that an expiry stands for; zero when it is empty.
func expiryFrom(start time.Time, value string) (time.Time, error) {
	if value == "" {
		return time.Time{}, nil
	}
	at := start
	for _, term := range strings.Fields(value) {
		m := expiryTerm.FindStringSubmatch(term)
		if m == nil {
			return time.Time{}, errors.New("Invalid expiry expression")
		}
		n, _ := strconv.Atoi(m[1])
		switch m[2] {
		case "M":
			at = at.Add(time.Duration(n) * time.Minute)
		case "H":
			at = at.Add(time.Duration(n) * time.Hour)
		case "d":
			at = at.AddDate(0, 0, n)
		case "w":
			at = at.AddDate(0, 0, 7*n)
		case "m":
			at = at.AddDate(0, n, 0)
		case "y":
			at = at.AddDate(n, 0, 0)
		}
	}
	if at.Equal(start) {
		return time.Time{}, nil
	}
	return date.UTC(at), nil
}
