package instance

import (
	"reflect"
	"slices"
	"strings"

	"github.com/berthd/berth/internal/rawjson"
)

// storedNames are the members of the record of a snapshot.
var storedNames = rawjson.FieldNames(reflect.TypeFor[storedSnapshot]())

// ownMember is a member of the record that a Snapshot has for itself.
type ownMember int

const (
	ownConfig ownMember = iota
	ownCreatedAt
	ownLastUsedAt
	ownExpiresAt
	notOwn
)

func ownMemberOf[T rawjson.Text](name T) ownMember {
	switch string(name) {
	case `"config"`:
		return ownConfig
	case `"created_at"`:
		return ownCreatedAt
	case `"last_used_at"`:
		return ownLastUsedAt
	case `"expires_at"`:
		return ownExpiresAt
	default:
		return notOwn
	}
}

// restMembers are the members of a record that are not a snapshot's own; nil if there is none, one that is there twice, or one that
// MarshalJSON does not write: encoding/json takes names in capitals too, and of two the last.
func restMembers(data []byte) []string {
	all, ok := rawjson.Members(string(data))
	if !ok {
		return nil
	}
	var rest, seen []string
	for _, text := range all {
		quoted := text[:rawjson.StringEnd(text)]
		name := strings.Trim(quoted, `"`)
		if !slices.Contains(storedNames, name) || slices.Contains(seen, name) {
			return nil
		}
		seen = append(seen, name)
		if ownMemberOf(quoted) == notOwn {
			rest = append(rest, strings.Clone(text)) // not the whole record
		}
	}
	return rest
}

// delta reads a record that has the rest of another one, its members in any order.
type delta struct {
	like *Snapshot
	next Snapshot

	own    [notOwn]bool // which have been read
	shared uint64       // the same of like.rest.members, by their bits
	at     int          // which of these is expected next: most records have one order
}

// DecodeDelta implements store.DeltaDecoder. It accepts a record with the rest of like's, whatever the order of its members.
func (s *Snapshot) DecodeDelta(data []byte, like *Snapshot) bool {
	if like.rest.members == nil {
		return false
	}
	d := delta{like: like, next: Snapshot{rest: like.rest}}
	for before := byte('{'); string(data) != "}"; before = ',' {
		if len(data) == 0 || data[0] != before {
			return false
		}
		var ok bool
		if data, ok = d.member(data[1:]); !ok {
			return false
		}
	}
	if d.shared != 1<<len(like.rest.members)-1 {
		return false
	}
	*s = d.next
	return true
}

// member reads the member that data starts with, and returns what is behind it. It fails if the rest has no such member.
func (d *delta) member(data []byte) (behind []byte, ok bool) {
	shared := d.like.rest.members
	if d.at < len(shared) && startsWith(data, shared[d.at]) {
		return d.share(data, d.at)
	}
	name := rawjson.StringEnd(data)
	if name < 0 || name == len(data) || data[name] != ':' {
		return nil, false
	}
	if own := ownMemberOf(data[:name]); own != notOwn {
		return d.readOwn(own, data[name+1:])
	}
	for n, text := range shared {
		if startsWith(data, text) {
			return d.share(data, n)
		}
	}
	return nil, false
}

// share notes that data starts with the nth of the members that are shared.
func (d *delta) share(data []byte, n int) (behind []byte, ok bool) {
	if d.shared>>n&1 == 1 {
		return nil, false
	}
	d.shared |= 1 << n
	d.at = n + 1
	return data[len(d.like.rest.members[n]):], true
}

func (d *delta) readOwn(own ownMember, data []byte) (behind []byte, ok bool) {
	if d.own[own] {
		return nil, false
	}
	d.own[own] = true
	if own == ownConfig {
		d.next.config, behind, ok = readMembers(data, d.like.config)
		return behind, ok
	}
	t := &d.next.CreatedAt
	switch own {
	case ownLastUsedAt:
		t = &d.next.LastUsedAt
	case ownExpiresAt:
		t = &d.next.ExpiresAt
	}
	end := rawjson.StringEnd(data)
	if end < 0 {
		return nil, false
	}
	return data[end:], t.UnmarshalText(data[1:end-1]) == nil
}
