package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// byteSize writes a size in decimal units, as lxc shows sizes.
func byteSize(n int64, precision int) string {
	return sizeIn(n, precision, 1000, "kB", "MB", "GB", "TB", "PB", "EB")
}

// byteSizeIEC writes a size in binary units.
func byteSizeIEC(n int64, precision int) string {
	return sizeIn(n, precision, 1024, "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
}

// sizeIn writes bytes in the largest of the units of which there is at least one. A unit is base times the one before it, the first base bytes.
func sizeIn(n int64, precision int, base int64, units ...string) string {
	if n < base {
		return fmt.Sprintf("%dB", n)
	}
	value, unit := float64(n), ""
	for _, unit = range units {
		if value /= float64(base); value < float64(base) {
			break
		}
	}
	return fmt.Sprintf("%.*f%s", precision, value, unit)
}

// Layouts of times in lists and details.
const (
	layoutShort = "2006/01/02 15:04 MST"
	layoutLong  = "Jan 2, 2006 at 3:04pm (MST)"
)

// shownTime tells whether a time is worth showing: the API writes the year 1, and for some fields 1970, for never.
func shownTime(t time.Time) bool { return !t.IsZero() && t.Unix() != 0 }

// parseSize reads a size such as 512MiB or 2GB into bytes.
func parseSize(s string) (int64, error) {
	units := []struct {
		suffix string
		factor int64
	}{
		{"EiB", 1 << 60}, {"PiB", 1 << 50}, {"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
		{"EB", 1e18}, {"PB", 1e15}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}, {"", 1},
	}
	for _, u := range units {
		if digits, ok := strings.CutSuffix(s, u.suffix); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
			if err != nil {
				return 0, err
			}
			return n * u.factor, nil
		}
	}
	return 0, nil
}
