package config

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The validators check one value that is not empty. Their texts are LXD's: clients match on them.

// IsTrue tells whether a value switches something on: "true", "1", "yes", "on", in any case.
func IsTrue(value string) bool {
	return slices.Contains([]string{"true", "1", "yes", "on"}, strings.ToLower(value))
}

// IsFalse tells whether a value switches something off: "false", "0", "no", "off", in any case.
func IsFalse(value string) bool {
	return slices.Contains([]string{"false", "0", "no", "off"}, strings.ToLower(value))
}

// IsBool accepts what IsTrue or IsFalse know.
func IsBool(value string) error {
	if IsTrue(value) || IsFalse(value) {
		return nil
	}
	return fmt.Errorf("Invalid value for a boolean %q", value)
}

// IsInt accepts a 64-bit integer.
func IsInt(value string) error {
	if _, err := strconv.ParseInt(value, 10, 64); err != nil {
		return fmt.Errorf("Invalid value for an integer %q", value)
	}
	return nil
}

// IsUint32 accepts an unsigned 32-bit integer.
func IsUint32(value string) error { return isUint(value, 32) }

func isUint(value string, bits int) error {
	if _, err := strconv.ParseUint(value, 10, bits); err != nil {
		return fmt.Errorf("Invalid value for uint%d %q: %w", bits, value, err)
	}
	return nil
}

// InRange accepts an integer between low and high, both included.
func InRange(low, high int64) func(string) error {
	return func(value string) error {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return fmt.Errorf("Invalid value for an integer %q", value)
		}
		if n < low || n > high {
			return fmt.Errorf("Value isn't within valid range. Must be between %d and %d", low, high)
		}
		return nil
	}
}

// IsPriority accepts 0 to 10.
func IsPriority(value string) error {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return fmt.Errorf("Invalid value for an integer %q", value)
	}
	if n < 0 || n > 10 {
		return fmt.Errorf("Invalid value for a limit %q. Must be between 0 and 10", value)
	}
	return nil
}

// IsSize accepts a number of bytes with a unit.
func IsSize(value string) error {
	_, err := ParseSize(value)
	return err
}

// IsBitSize accepts a number of bits with a unit.
func IsBitSize(value string) error {
	_, err := ParseBitSize(value)
	return err
}

// IsMemory accepts a number of bytes with a unit, or a percentage, but not nothing at all.
func IsMemory(value string) error {
	n, err := ParseSizeOrPercent(value, 100)
	if err == nil && n == 0 {
		return errors.New("Memory limit can't be 0")
	}
	return err
}

// IsDuration accepts "10s" or "1h30m".
func IsDuration(value string) error {
	if _, err := time.ParseDuration(value); err != nil {
		return fmt.Errorf("Invalid duration %q", value)
	}
	return nil
}

// OneOf accepts one of the given values.
func OneOf(allowed ...string) func(string) error {
	return func(value string) error {
		if slices.Contains(allowed, value) {
			return nil
		}
		return fmt.Errorf("Invalid value %q (not one of %v)", value, allowed)
	}
}

// ListOf accepts a comma-separated list whose items each pass item. Space around items is ignored.
func ListOf(item func(string) error) func(string) error {
	return func(value string) error {
		for _, one := range strings.Split(value, ",") {
			one = strings.TrimSpace(one)
			if err := item(one); err != nil {
				return fmt.Errorf("Item %q: %w", one, err)
			}
		}
		return nil
	}
}

// Or accepts what one of the validators accepts; the error is the last one's.
func Or(validators ...func(string) error) func(string) error {
	return func(value string) error {
		var err error
		for _, validate := range validators {
			if err = validate(value); err == nil {
				return nil
			}
		}
		return err
	}
}

// And accepts what all of the validators accept.
func And(validators ...func(string) error) func(string) error {
	return func(value string) error {
		for _, validate := range validators {
			if err := validate(value); err != nil {
				return err
			}
		}
		return nil
	}
}

// OneLine refuses values that would break out of a line of another program's configuration.
func OneLine(value string) error {
	if strings.ContainsAny(value, "\n\r\x00") {
		return errors.New("Value can't contain line breaks or NUL")
	}
	return nil
}

// IsMAC accepts six bytes of hex with colons, as an interface can have them: one that stands for a group, or for none, the kernel refuses.
func IsMAC(value string) error {
	mac, err := net.ParseMAC(value)
	if err != nil || len(mac) != 6 || strings.Count(value, ":") != 5 {
		return errors.New("Invalid MAC address, must be 6 bytes of hex separated by colons")
	}
	if mac[0]&1 != 0 {
		return fmt.Errorf("Invalid MAC address %q: a multicast address (its first byte is odd)", value)
	}
	if bytes.Count(mac, []byte{0}) == len(mac) {
		return fmt.Errorf("Invalid MAC address %q: all zeros is no interface's address", value)
	}
	return nil
}

// IsMTU accepts 1280 to 16384.
func IsMTU(value string) error {
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil {
		return fmt.Errorf("Invalid MTU %q", value)
	}
	if n < 1280 || n > 16384 {
		return fmt.Errorf("Out of MTU range (1280-16384) %q", value)
	}
	return nil
}

// IsInterfaceName accepts what the kernel takes as the name of a network interface, and no more than is safe in
// the configuration of other programs.
func IsInterfaceName(value string) error {
	if len(value) < 2 {
		return errors.New("Network interface is too short (minimum 2 characters)")
	}
	if len(value) > 15 {
		return errors.New("Network interface is too long (maximum 15 characters)")
	}
	for _, r := range value {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && !strings.ContainsRune("-_:.", r) {
			return errors.New("Network interface contains invalid characters")
		}
	}
	if value == ".." {
		return errors.New("Network interface contains invalid characters")
	}
	return nil
}
