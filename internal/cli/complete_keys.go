package cli

import (
	"maps"
	"slices"
	"strings"

	"github.com/berthd/berth/client"
)

// keysOf completes configuration keys of an entity, with what follows them. Behind "key=" it completes values.
func keysOf(entity, suffix string) completion {
	return func(s completing, before []string, word string) []string {
		if key, _, ok := strings.Cut(word, "="); ok && suffix == "=" {
			var out []string
			for _, value := range s.values(key) {
				out = append(out, key+"="+value)
			}
			return out
		}
		var out []string
		for key := range s.keys()[entity] {
			if !strings.Contains(key, "*") && !strings.HasPrefix(key, "volatile.") {
				out = append(out, key+suffix)
			}
		}
		return out
	}
}

// keys are those of the default remote's server: which keys there are depends on its version, not on its instances.
func (s completing) keys() map[string]map[string]client.ConfigKey {
	server, _, _, ok := s.server("")
	if !ok {
		return nil
	}
	keys, err := server.ConfigKeys()
	if err != nil {
		return nil
	}
	return keys
}

// values are those that a key may have, as far as they can be counted up: those the server names, truth values and the default.
func (s completing) values(key string) (out []string) {
	for _, keys := range s.keys() {
		k, ok := keys[key]
		if !ok {
			continue
		}
		out = append(out, k.Values...)
		if k.Type == "bool" {
			out = append(out, "true", "false")
		}
		if k.Default != "" && len(k.Values) == 0 {
			out = append(out, k.Default)
		}
	}
	return out
}

// object gets what is set on one that is named: its configuration, or its devices.
type object[T any] func(server *client.Client, name string) (map[string]T, error)

func configOf(server *client.Client, name string) (map[string]string, error) {
	i, _, err := server.Instance(name)
	if err != nil {
		return nil, err
	}
	return i.Config, nil
}

func profileConfigOf(server *client.Client, name string) (map[string]string, error) {
	p, _, err := server.Profile(name)
	if err != nil {
		return nil, err
	}
	return p.Config, nil
}

func devicesOf(server *client.Client, name string) (map[string]map[string]string, error) {
	i, _, err := server.Instance(name)
	if err != nil {
		return nil, err
	}
	return i.ExpandedDevices, nil
}

func profileDevicesOf(server *client.Client, name string) (map[string]map[string]string, error) {
	p, _, err := server.Profile(name)
	if err != nil {
		return nil, err
	}
	return p.Devices, nil
}

// set is what the object has that an argument names.
func set[T any](s completing, get object[T], raw string) map[string]T {
	server, _, name, ok := s.server(raw)
	if !ok {
		return nil
	}
	values, err := get(server, name)
	if err != nil {
		return nil
	}
	return values
}

// withKeysOf adds the user.* and other free keys that are set on the object: the server's list has no names for them.
func withKeysOf(get object[string], known completion) completion {
	return func(s completing, before []string, word string) []string {
		out := known(s, before, word)
		suffix := ""
		if len(out) > 0 && strings.HasSuffix(out[0], "=") {
			suffix = "="
		}
		for _, family := range []string{"user.", "environment.", "linux.sysctl.", "limits.kernel."} {
			if !strings.HasPrefix(word, family[:min(len(word), len(family))]) || word == "" || strings.Contains(word, "=") {
				continue
			}
			for key := range set(s, get, before[0]) {
				if strings.HasPrefix(key, family) {
					out = append(out, key+suffix)
				}
			}
		}
		return out
	}
}

// either completes an argument that may be of two kinds.
func either(a, b completion) completion {
	return func(s completing, before []string, word string) []string {
		return append(a(s, before, word), b(s, before, word)...)
	}
}

func deviceNames(get object[map[string]string]) completion {
	return func(s completing, before []string, _ string) []string {
		return slices.Collect(maps.Keys(set(s, get, before[0])))
	}
}

// deviceKeys completes the keys that are set on a device.
func deviceKeys(get object[map[string]string]) completion {
	return func(s completing, before []string, _ string) []string {
		return slices.Collect(maps.Keys(set(s, get, before[0])[before[1]]))
	}
}
