package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Units as in LXD's "Units for storage and network limits". Case matters: "KB" and "k" are no units.
var (
	byteUnits = map[string]int64{
		"": 1, "B": 1, "bytes": 1, " bytes": 1,
		"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15, "EB": 1e18,
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "PiB": 1 << 50, "EiB": 1 << 60,
	}
	bitUnits = map[string]int64{
		"": 1, "bit": 1,
		"kbit": 1e3, "Mbit": 1e6, "Gbit": 1e9, "Tbit": 1e12, "Pbit": 1e15, "Ebit": 1e18,
		"Kibit": 1 << 10, "Mibit": 1 << 20, "Gibit": 1 << 30, "Tibit": 1 << 40, "Pibit": 1 << 50, "Eibit": 1 << 60,
	}
)

// ParseSize reads a number of bytes with an optional unit: "512", "1GiB", "10MB". Empty is 0.
func ParseSize(value string) (int64, error) { return parseUnits(value, byteUnits) }

// ParseBitSize reads a number of bits (a second) with an optional unit: "100Mbit". Empty is 0.
func ParseBitSize(value string) (int64, error) { return parseUnits(value, bitUnits) }

func parseUnits(value string, units map[string]int64) (int64, error) {
	if value == "" {
		return 0, nil
	}
	digits := strings.IndexFunc(value, func(r rune) bool { return r < '0' || r > '9' })
	if digits < 0 {
		digits = len(value)
	}
	unit, ok := units[value[digits:]]
	if digits == 0 || !ok {
		return 0, fmt.Errorf("Invalid value: %s", value)
	}
	n, err := strconv.ParseInt(value[:digits], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("Invalid integer: %s", value)
	}
	if n > math.MaxInt64/unit {
		return 0, fmt.Errorf("Overflow multiplying %d with %d", n, unit)
	}
	return n * unit, nil
}

// ParseSizeOrPercent reads "1GiB" as bytes, or "50%" as that part of total.
func ParseSizeOrPercent(value string, total int64) (int64, error) {
	percent, ok := strings.CutSuffix(value, "%")
	if !ok {
		return ParseSize(value)
	}
	n, err := strconv.ParseInt(percent, 10, 64)
	if err != nil {
		return 0, err
	}
	return total / 100 * n, nil
}

// FormatDecimal writes bytes in decimal units with two decimals, as LXD shows the progress of transfers: "12B", "1.50GB".
func FormatDecimal(bytes int64) string {
	if bytes < 1000 {
		return fmt.Sprintf("%dB", bytes)
	}
	value, unit := float64(bytes), ""
	for _, unit = range []string{"kB", "MB", "GB", "TB", "PB", "EB"} {
		if value /= 1000; value < 1000 {
			break
		}
	}
	return fmt.Sprintf("%.2f%s", value, unit)
}
