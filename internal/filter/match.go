package filter

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"
)

// Match tells whether obj (a struct with JSON tags, a map, or a pointer to one) passes. Fields are named by dotted
// paths of JSON names: "config.user.os", "devices.eth0.nictype". A list matches if one of its elements does. What
// does not exist equals nothing.
func (c *Clauses) Match(obj any) bool {
	if c == nil || len(c.list) == 0 {
		return true
	}
	result := true
	for i, one := range c.list {
		matched := one.matches(reflect.ValueOf(obj)) != one.not
		switch {
		case i == 0:
			result = matched
		case one.or:
			result = result || matched
		default:
			result = result && matched
		}
	}
	return result
}

// Empty tells that everything matches, so that a caller need not load what it would only filter.
func (c *Clauses) Empty() bool { return c == nil || len(c.list) == 0 }

// Uses tells whether a clause is about the field or something in it: Uses("state").
func (c *Clauses) Uses(field string) bool {
	if c == nil {
		return false
	}
	for _, one := range c.list {
		if one.field == field || strings.HasPrefix(one.field, field+".") {
			return true
		}
	}
	return false
}

func (c clause) matches(v reflect.Value) bool { return c.find(v, c.field) }

// find walks path into v and compares what it ends at.
func (c clause) find(v reflect.Value, path string) bool {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return false
		}
		v = v.Elem()
	}
	switch {
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Array:
		for i := range v.Len() {
			if c.find(v.Index(i), path) {
				return true
			}
		}
		return false
	case path == "":
		text, ok := scalar(v)
		return ok && c.equal(text)
	case v.Kind() == reflect.Struct:
		name, rest, _ := strings.Cut(path, ".")
		index, ok := fieldsOf(v.Type())[name]
		if !ok {
			return false
		}
		field, err := v.FieldByIndexErr(index)
		return err == nil && c.find(field, rest)
	case v.Kind() == reflect.Map && v.Type().Key().Kind() == reflect.String:
		return c.findInMap(v, path)
	default:
		return false
	}
}

// findInMap takes the longest key that fits: keys may have dots themselves.
func (c clause) findInMap(v reflect.Value, path string) bool {
	for end := len(path); end > 0; end = strings.LastIndexByte(path[:end], '.') {
		key := reflect.ValueOf(path[:end]).Convert(v.Type().Key())
		if value := v.MapIndex(key); value.IsValid() {
			return c.find(value, strings.TrimPrefix(path[end:], "."))
		}
	}
	return false
}

func (c clause) equal(text string) bool {
	if c.match != nil && c.match.MatchString(text) {
		return true
	}
	return strings.EqualFold(c.value, text)
}

func scalar(v reflect.Value) (string, bool) {
	switch v.Kind() {
	case reflect.String:
		return v.String(), true
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		if v.CanInt() {
			return fmt.Sprint(v.Int()), true // a named integer may print as a word; the wire has the number
		}
		return fmt.Sprint(v.Interface()), true
	default:
		if t, ok := v.Interface().(time.Time); ok {
			return t.Format(time.RFC3339Nano), true
		}
		return "", false
	}
}

var fieldCache sync.Map // reflect.Type -> map[string][]int

// fieldsOf maps the JSON names of a struct's fields to where they are, embedded ones included.
func fieldsOf(t reflect.Type) map[string][]int {
	if known, ok := fieldCache.Load(t); ok {
		return known.(map[string][]int)
	}
	fields := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" || f.Anonymous && name == "" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		if at, ok := fields[name]; !ok || len(f.Index) < len(at) {
			fields[name] = f.Index
		}
	}
	fieldCache.Store(t, fields)
	return fields
}
