// Package rawjson writes and reads JSON of which much is encoded already, and stays so. What it writes is what encoding/json does;
// it is for lists of thousands, where the same is encoded again and again.
package rawjson

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// AppendKey appends the name of a member to an object that has been begun, with the comma that it needs if it is not the first. The
// name is the program's own: nothing in it is escaped.
func AppendKey(b []byte, name string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

// AppendStringMember appends a member whose value is a string.
func AppendStringMember(b []byte, name, value string) []byte {
	return AppendString(AppendKey(b, name), value)
}

// AppendIntMember appends a member whose value is a whole number.
func AppendIntMember[I ~int | ~int64](b []byte, name string, value I) []byte {
	return strconv.AppendInt(AppendKey(b, name), int64(value), 10)
}

// AppendString appends a string with its quotes. What needs care is left to json.Marshal.
func AppendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			careful, _ := json.Marshal(s) // a string always has an encoding
			return append(b, careful...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// AppendTime appends a time as RFC 3339 has it. It panics for one that encoding/json refuses, as it does for a year of five digits:
// none that was decoded is such.
func AppendTime(b []byte, t time.Time) []byte {
	b, err := t.AppendText(append(b, '"'))
	if err != nil {
		panic(fmt.Sprintf("rawjson: %v", err))
	}
	return append(b, '"')
}

// AppendMap appends an object with the entries of m by key, or null for nil. appendValue appends the value of one.
func AppendMap[V any](b []byte, m map[string]V, appendValue func([]byte, V) []byte) []byte {
	if m == nil {
		return append(b, "null"...)
	}
	var few [8]string
	keys := slices.AppendSeq(few[:0], maps.Keys(m))
	slices.Sort(keys)
	b = append(b, '{')
	for n, key := range keys {
		if n > 0 {
			b = append(b, ',')
		}
		b = appendValue(append(AppendString(b, key), ':'), m[key])
	}
	return append(b, '}')
}

// AppendList appends an array, or null for nil. appendItem appends one of its items.
func AppendList[V any](b []byte, list []V, appendItem func([]byte, V) []byte) []byte {
	if list == nil {
		return append(b, "null"...)
	}
	b = append(b, '[')
	for n, item := range list {
		if n > 0 {
			b = append(b, ',')
		}
		b = appendItem(b, item)
	}
	return append(b, ']')
}
