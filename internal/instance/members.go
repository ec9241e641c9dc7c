package instance

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/berthd/berth/internal/rawjson"
)

// members are a map of strings as JSON: each is `"key":"value"` just as encoding/json writes it, sorted by key. Nil is null. They
// are shared and not changed. As a map, a usual configuration is a kilobyte for each snapshot; of these, what snapshots have in
// common is held once, and lists are written from them without making anything.
type members []string

func membersOf(m map[string]string) members {
	if m == nil {
		return nil
	}
	list := make(members, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		list = append(list, string(appendMember(nil, key, m[key])))
	}
	return list
}

func appendMember(b []byte, key, value string) []byte {
	return rawjson.AppendString(append(rawjson.AppendString(b, key), ':'), value)
}

// decode makes the map.
func (m members) decode() map[string]string {
	if m == nil {
		return nil
	}
	config := make(map[string]string, len(m))
	for _, text := range m {
		key, value := cutMember(text)
		config[key] = value
	}
	return config
}

// appendOver appends the object of base with m over it.
func (m members) appendOver(b []byte, base members) []byte {
	b = append(b, '{')
	for len(base) > 0 || len(m) > 0 {
		next := &m
		if len(m) == 0 {
			next = &base
		} else if len(base) > 0 {
			if below, own := keyOf(base[0]), keyOf(m[0]); below < own {
				next = &base
			} else if below == own {
				base = base[1:]
			}
		}
		b = append(append(b, (*next)[0]...), ',')
		*next = (*next)[1:]
	}
	if b[len(b)-1] == ',' {
		b = b[:len(b)-1]
	}
	return append(b, '}')
}

// append appends the object, or null.
func (m members) append(b []byte) []byte {
	if m == nil {
		return append(b, "null"...)
	}
	return m.appendOver(b, nil)
}

// same tells whether two are one by their memory.
func (m members) same(other members) bool {
	return len(m) == len(other) && (m == nil) == (other == nil) && (len(m) == 0 || &m[0] == &other[0])
}

// share is m with the members that like has too held as like's.
func (m members) share(like members) members {
	if m == nil {
		return nil
	}
	if read, _, ok := readMembers(m.append(nil), like); ok {
		return read
	}
	return m
}

// readMembers reads the object that data starts with, and returns what is behind it. It holds the members that like has too as like's,
// and keeps nothing of data. It fails if encoding/json would have written the object in another way.
func readMembers(data []byte, like members) (m members, rest []byte, ok bool) {
	if len(data) == 0 || data[0] != '{' {
		return nil, nil, false
	}
	if data = data[1:]; len(data) > 0 && data[0] == '}' {
		return members{}, data[1:], true
	}
	var room [32]string // so that what is kept is not longer than it need be
	list, others := room[:0], like
	allShared, before := true, true
	for {
		text, shared := "", false
		if text, shared, others = nextMember(data, others); text == "" {
			return nil, nil, false
		}
		// Like's are in order among each other.
		if n := len(list); n > 0 && !(before && shared) && keyOf(list[n-1]) >= keyOf(text) {
			return nil, nil, false
		}
		list, before, allShared = append(list, text), shared, allShared && shared
		if data = data[len(text):]; len(data) == 0 || data[0] != ',' {
			break
		}
		data = data[1:]
	}
	if len(data) == 0 || data[0] != '}' {
		return nil, nil, false
	}
	if allShared && len(list) == len(like) {
		return like, data[1:], true
	}
	m = make(members, len(list)) // slices.Clone would move room to the heap
	copy(m, list)
	return m, data[1:], true
}

// nextMember returns the member that data starts with, whether it is one of like's, and what of like comes after it; "" if there
// is none.
func nextMember(data []byte, like members) (text string, shared bool, after members) {
	if len(like) > 0 && startsWith(data, like[0]) {
		return like[0], true, like[1:]
	}
	if text = firstMember(data); text == "" {
		return "", false, nil
	}
	key := keyOf(text)
	for len(like) > 0 && keyOf(like[0]) < key {
		like = like[1:]
	}
	switch {
	case len(like) == 0 || keyOf(like[0]) != key:
		return text, false, like
	case like[0] == text:
		return like[0], true, like[1:]
	default:
		return text, false, like[1:]
	}
}

func startsWith(data []byte, text string) bool {
	return len(data) >= len(text) && string(data[:len(text)]) == text
}

// firstMember is the member that data starts with; "" if it starts with none, or one that encoding/json writes otherwise.
func firstMember(data []byte) string {
	colon := rawjson.StringEnd(data)
	if colon < 0 || colon == len(data) || data[colon] != ':' {
		return ""
	}
	length := rawjson.StringEnd(data[colon+1:])
	if length < 0 {
		return ""
	}
	text := string(data[:colon+1+length])
	key, value := cutMember(text)
	var room [256]byte
	if string(appendMember(room[:0], key, value)) != text {
		return ""
	}
	return text
}

// cutMember decodes a member. What is no JSON gives what does not encode to it.
func cutMember(text string) (key, value string) {
	colon := rawjson.StringEnd(text)
	return unquote(text[:colon]), unquote(text[colon+1:])
}

func keyOf(text string) string { return unquote(text[:rawjson.StringEnd(text)]) }

func unquote(text string) string {
	for i := range len(text) {
		if text[i] == '\\' {
			var plain string
			_ = json.Unmarshal([]byte(text), &plain)
			return plain
		}
	}
	return text[1 : len(text)-1]
}
