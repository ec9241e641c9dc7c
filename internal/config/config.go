// Package config is the one table of configuration keys: each key of each entity is declared once, and
// validation, defaults, editing, completion and the reference docs all read that declaration.
//
// Configuration is a map of strings, as on the wire. An empty value is the same as no value.
package config

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/berthd/berth/api"
)

var errRequired = errors.New("Required value")

// Type is what a value is, as the reference docs name it. It picks the validator of a key that has none.
type Type string

// Types.
const (
	String   Type = "string"
	Bool     Type = "bool"
	Integer  Type = "integer"
	Size     Type = "size"     // bytes, with units
	Duration Type = "duration" // "10s", "1h30m"
)

// Restriction says who may set a key in a restricted project. The zero value denies: a key that nobody thought
// about is not available there.
type Restriction string

// Restrictions. Any other value is the name of the project key ("restricted.containers.lowlevel") that governs it.
const (
	Denied Restriction = ""
	Free   Restriction = "free"
)

// Key is one configuration key, or with a "*" in its name, a family of keys.
type Key struct {
	// Name is the key: "limits.memory". One "*" stands for one or more characters: "user.*", "volatile.*.hwaddr".
	Name string
	Type Type
	// Default is what Get returns where nothing is set.
	Default string
	// Values are all there are, where they can be counted up; empty: others too.
	Values []string
	// Validate checks a value that is not empty; nil takes Values, or the validator of Type.
	Validate func(value string) error
	// Required tells that the key must have a value. It is for families of one, not for wildcards.
	Required bool
	// Live tells that a change takes effect without a restart of what is configured.
	Live bool
	// Restricted says who may set the key in a restricted project.
	Restricted Restriction
	// Unsupported says why this server cannot give the key its effect. Where it is new it is refused (Table.CheckSupported); a record that
	// holds it, written by an earlier version or brought from elsewhere, loads and runs as ever.
	Unsupported string
	// Except tells the values that are taken of an unsupported key; nil: none.
	Except func(value string) bool
	// Hidden keeps the key's value from being shown (passwords).
	Hidden bool
	// Condition is where the key applies: "container", "bridge", …; empty: everywhere. For docs and completion.
	Condition string
	// Allowed says which values there are, for errors: "50% or 25ms/100ms"; empty takes the words of Type, if any.
	Allowed string
	// Doc is one line for the reference.
	Doc string
}

// allowed says in words what values a key takes; empty where the error of the validator says all there is.
func (k Key) allowed() string {
	switch {
	case k.Allowed != "":
		return k.Allowed
	case k.Validate != nil || len(k.Values) > 0:
		return ""
	}
	return map[Type]string{
		Bool: "true or false", Integer: "a whole number", Size: "bytes, or a size such as 64MiB", Duration: "a time such as 1h30m",
	}[k.Type]
}

// Settable tells whether there are values of the key that this server takes.
func (k Key) Settable() bool { return k.Unsupported == "" || k.Except != nil }

func (k Key) validate(value string) error {
	if value == "" {
		if k.Required {
			return errRequired
		}
		return nil
	}
	if k.Validate != nil {
		return k.Validate(value)
	}
	if len(k.Values) > 0 {
		return OneOf(k.Values...)(value)
	}
	switch k.Type {
	case Bool:
		return IsBool(value)
	case Integer:
		return IsInt(value)
	case Size:
		return IsSize(value)
	case Duration:
		return IsDuration(value)
	default:
		return nil
	}
}

// Table is the keys of one kind of entity. It does not change after it is made and is safe for concurrent use.
type Table struct {
	words    Words
	exact    map[string]Key
	families []Key // longest fixed part first
}

// NewTable makes a table whose errors are worded by w. A key declared twice is a mistake of the program and panics.
func NewTable(w Words, keys ...Key) *Table {
	t := &Table{words: w, exact: map[string]Key{}}
	t.add(keys)
	return t
}

// With returns a table of these keys and some more: those of a driver, for example.
func (t *Table) With(keys ...Key) *Table {
	more := &Table{words: t.words, exact: make(map[string]Key, len(t.exact)), families: slices.Clone(t.families)}
	for name, k := range t.exact {
		more.exact[name] = k
	}
	more.add(keys)
	return more
}

// Worded returns the same table with other words, for errors that name the entity.
func (t *Table) Worded(w Words) *Table {
	return &Table{words: w, exact: t.exact, families: t.families}
}

func (t *Table) add(keys []Key) {
	for _, k := range keys {
		if _, ok := t.exact[k.Name]; ok || slices.ContainsFunc(t.families, func(f Key) bool { return f.Name == k.Name }) {
			panic("config: key " + k.Name + " is declared twice")
		}
		if strings.Contains(k.Name, "*") {
			t.families = append(t.families, k)
		} else {
			t.exact[k.Name] = k
		}
	}
	sort.SliceStable(t.families, func(i, j int) bool { return len(t.families[i].Name) > len(t.families[j].Name) })
}

// Lookup finds the declaration of a key; of several families that fit, the one with the longest name.
func (t *Table) Lookup(name string) (Key, bool) {
	if k, ok := t.exact[name]; ok {
		return k, true
	}
	for _, k := range t.families {
		if matches(k.Name, name) {
			return k, true
		}
	}
	return Key{}, false
}

func matches(pattern, name string) bool {
	before, after, _ := strings.Cut(pattern, "*")
	return len(name) > len(before)+len(after) && strings.HasPrefix(name, before) && strings.HasSuffix(name, after)
}

// Keys lists all declarations by name, for docs and completion.
func (t *Table) Keys() []Key {
	keys := slices.Clone(t.families)
	for _, k := range t.exact {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool { return keys[i].Name < keys[j].Name })
	return keys
}

// Validate checks every key and value, and that required keys are there. Errors are api.BadRequest; of several
// mistakes the first in key order is told.
func (t *Table) Validate(config map[string]string) error {
	names := make([]string, 0, len(config))
	for name := range config {
		names = append(names, name)
	}
	for name, k := range t.exact {
		if _, ok := config[name]; k.Required && !ok {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		if err := t.ValidateKey(name, config[name]); err != nil {
			return err
		}
	}
	return nil
}

// ValidateKey checks one key and its value.
func (t *Table) ValidateKey(name, value string) error {
	k, ok := t.Lookup(name)
	if !ok || !utf8.ValidString(name) {
		return api.BadRequest("%s", t.words.Unknown(name, value))
	}
	if !utf8.ValidString(value) {
		// The store keeps JSON, which would give another value back.
		return api.BadRequest("%w", t.words.Invalid(k, name, value, errors.New("value is not valid UTF-8")))
	}
	if err := k.validate(value); err != nil {
		return api.BadRequest("%w", t.words.Invalid(k, name, value, err))
	}
	return nil
}

// CheckSupported refuses what is new in after, compared with before, and has no effect on this server. Errors are api.BadRequest and name
// the key and the reason.
func (t *Table) CheckSupported(before, after map[string]string) error {
	for _, name := range Changed(before, after) {
		k, ok := t.Lookup(name)
		value := after[name]
		if !ok || k.Unsupported == "" || value == "" || k.Except != nil && k.Except(value) {
			continue
		}
		if len(value) > longest {
			value = value[:longest] + "…"
		}
		return api.BadRequest("%s=%q is not supported by this server: %s", name, value, k.Unsupported)
	}
	return nil
}

// Get returns the value of a key, or its default.
func (t *Table) Get(config map[string]string, name string) string {
	if v := config[name]; v != "" {
		return v
	}
	k, _ := t.Lookup(name)
	return k.Default
}

// GetBool is Get for a key of type Bool; a value that is none counts as false.
func (t *Table) GetBool(config map[string]string, name string) bool {
	return IsTrue(t.Get(config, name))
}

// GetInt is Get for a key of type Integer; a value that is none counts as 0.
func (t *Table) GetInt(config map[string]string, name string) int64 {
	n, _ := strconv.ParseInt(t.Get(config, name), 10, 64)
	return n
}

// GetSize is Get for a key of type Size, in bytes; a value that is none counts as 0.
func (t *Table) GetSize(config map[string]string, name string) int64 {
	n, _ := ParseSize(t.Get(config, name))
	return n
}

// GetDuration is Get for a key of type Duration; a value that is none counts as 0.
func (t *Table) GetDuration(config map[string]string, name string) time.Duration {
	d, _ := time.ParseDuration(t.Get(config, name))
	return d
}

// NotLive returns those of names that need a restart to take effect.
func (t *Table) NotLive(names []string) []string {
	var rest []string
	for _, name := range names {
		if k, ok := t.Lookup(name); !ok || !k.Live {
			rest = append(rest, name)
		}
	}
	return rest
}

// Words is how a table's errors read: clients match on LXD's texts, which differ from entity to entity.
type Words struct {
	Unknown func(name, value string) string
	Invalid func(k Key, name, value string, cause error) error
}

// InstanceWords are those of instances, profiles and projects.
var InstanceWords = Words{
	Unknown: func(name, _ string) string { return "Unknown configuration key: " + name },
	// LXD tells the cause alone; which key it was has to be guessed there.
	Invalid: func(k Key, name, value string, cause error) error {
		if len(value) > longest {
			value = value[:longest] + "…"
		}
		if allowed := k.allowed(); allowed != "" {
			return fmt.Errorf("%w (%s=%q; allowed: %s)", cause, name, value, allowed)
		}
		return fmt.Errorf("%w (%s=%q)", cause, name, value)
	},
}

// longest is how many bytes of a value an error shows: some keys hold whole files.
const longest = 80

// ServerWords are those of the daemon's own configuration.
var ServerWords = Words{
	Unknown: func(name, value string) string {
		return fmt.Sprintf("cannot set '%s' to '%s': unknown key", name, value)
	},
	Invalid: func(k Key, name, value string, cause error) error {
		if k.Hidden {
			value = "***"
		}
		if k.Validate == nil && (k.Type == Bool || k.Type == Integer) {
			noun := map[Type]string{Bool: "boolean", Integer: "integer"}[k.Type]
			return fmt.Errorf("cannot set '%s' to '%s': invalid %s", name, value, noun)
		}
		return fmt.Errorf("cannot set '%s' to '%s': %w", name, value, cause)
	},
}

// StorageWords are those of storage pools and volumes.
var StorageWords = Words{
	Unknown: func(name, _ string) string { return fmt.Sprintf("Invalid option %q", name) },
	Invalid: func(_ Key, name, _ string, cause error) error {
		return fmt.Errorf("Invalid value for option %q: %w", name, cause)
	},
}

// NetworkWords are those of a network.
func NetworkWords(network string) Words {
	return Words{
		Unknown: func(name, _ string) string {
			return fmt.Sprintf("Invalid option for network %q option %q", network, name)
		},
		Invalid: func(_ Key, name, _ string, cause error) error {
			return fmt.Errorf("Invalid value for network %q option %q: %w", network, name, cause)
		},
	}
}

// UserKey is what every device has room for.
var UserKey = Key{Name: "user.*", Live: true, Restricted: Free, Doc: "Free for users; has no effect"}

// DeviceWords are those of an instance's device.
var DeviceWords = Words{
	Unknown: func(name, _ string) string { return fmt.Sprintf("Invalid device option %q", name) },
	Invalid: func(k Key, name, _ string, cause error) error {
		if k.Allowed != "" {
			return fmt.Errorf("Invalid value for device option %q: %w (allowed: %s)", name, cause, k.Allowed)
		}
		return fmt.Errorf("Invalid value for device option %q: %w", name, cause)
	},
}
