package instance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/berthd/berth/internal/store"
)

var _ interface {
	store.DeltaDecoder[Snapshot]
	store.Interner[Snapshot]
} = (*Snapshot)(nil)

// Snapshot is a snapshot as the store keeps it, at /instance-snapshots/<project>/<instance>/<snapshot>: a table of
// its own, so that a long history does not slow a list of instances down. There may be fifty thousand, which differ in
// their times and a few keys: of each no more is held and, as a rule, decoded than that. It is encoded as storedSnapshot.
type Snapshot struct {
	ExpiresAt, CreatedAt, LastUsedAt time.Time

	config members
	rest   *snapshotRest
}

type storedSnapshot struct {
	Body
	ExpiresAt time.Time `json:"expires_at"`
}

// snapshotRest is what a snapshot has besides its times and its config, and as a rule in common with those beside it.
type snapshotRest struct {
	body Body // without what Snapshot has
	// head and tail are the encoding before the members of config, and between them and the first time; nil if it is
	// not of that shape.
	head, tail []byte
}

// newSnapshot makes a record that shares with b what is not its config. b is not changed from then on.
func newSnapshot(b Body, expiresAt time.Time) *Snapshot {
	s := &Snapshot{ExpiresAt: expiresAt, CreatedAt: b.CreatedAt, LastUsedAt: b.LastUsedAt, config: membersOf(b.Config)}
	b.Config, b.CreatedAt, b.LastUsedAt = nil, time.Time{}, time.Time{}
	s.rest = &snapshotRest{body: b}
	data, err := json.Marshal(&b)
	if err != nil {
		panic(fmt.Sprintf("instance: encode a snapshot: %v", err)) // strings and booleans of our own
	}
	// No text of a user can look like the name of a field: within a string its quotes would have backslashes.
	head, tail, _ := bytes.Cut(data, []byte(`"config":null`))
	if tail, ok := bytes.CutSuffix(tail, []byte(`0001-01-01T00:00:00Z","last_used_at":"0001-01-01T00:00:00Z"}`)); ok {
		s.rest.head, s.rest.tail = append(head[:len(head):len(head)], `"config":{`...), tail
	}
	return s
}

// body makes what is in common with an instance. The config is the caller's own, the rest is shared.
func (s *Snapshot) body() Body {
	b := s.rest.body
	b.Config, b.CreatedAt, b.LastUsedAt = s.config.decode(), s.CreatedAt, s.LastUsedAt
	return b
}

// MarshalJSON implements json.Marshaler.
func (s *Snapshot) MarshalJSON() ([]byte, error) {
	return json.Marshal(&storedSnapshot{s.body(), s.ExpiresAt})
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Snapshot) UnmarshalJSON(data []byte) error {
	var stored storedSnapshot
	if err := json.Unmarshal(data, &stored); err != nil {
		return err
	}
	*s = *newSnapshot(stored.Body, stored.ExpiresAt)
	return nil
}

// DecodeDelta implements store.DeltaDecoder. All it accepts is what MarshalJSON gives for a snapshot that has like's rest.
func (s *Snapshot) DecodeDelta(data []byte, like *Snapshot) bool {
	r := like.rest
	if r.head == nil {
		return false
	}
	data, ok := bytes.CutPrefix(data, r.head)
	if !ok {
		return false
	}
	config, data, ok := readMembers(data, like.config)
	if !ok {
		return false
	}
	if data, ok = bytes.CutPrefix(data, r.tail); !ok {
		return false
	}
	next := Snapshot{config: config, rest: r}
	// A time has no quotes: nothing else is between two keys.
	created, data, _ := bytes.Cut(data, []byte(`","last_used_at":"`))
	used, data, _ := bytes.Cut(data, []byte(`","expires_at":"`))
	expires, ok := bytes.CutSuffix(data, []byte(`"}`))
	if !ok || next.CreatedAt.UnmarshalText(created) != nil || next.LastUsedAt.UnmarshalText(used) != nil || next.ExpiresAt.UnmarshalText(expires) != nil {
		return false
	}
	*s = next
	return true
}

// Intern implements store.Interner.
func (s *Snapshot) Intern(like *Snapshot) {
	if like == nil {
		return
	}
	s.config = s.config.share(like.config)
	if a, b := s.rest, like.rest; a.head != nil && bytes.Equal(a.head, b.head) && bytes.Equal(a.tail, b.tail) {
		s.rest = b
	} else {
		a.body.share(&b.body)
	}
}

// ofCopy is a snapshot as it comes with a copy of its instance: without the addresses of the original's NICs, lest a restored copy
// takes them from the original.
func (s *Snapshot) ofCopy() *Snapshot {
	b := s.body()
	for key := range b.Config {
		if _, address := addressOf(key); address {
			delete(b.Config, key)
		}
	}
	return newSnapshot(b, s.ExpiresAt)
}

// addressOf tells whether a key of an instance keeps the generated address of a NIC, and of which.
func addressOf(key string) (device string, ok bool) {
	device, ok = strings.CutSuffix(key, ".hwaddr")
	if !ok {
		return "", false
	}
	return strings.CutPrefix(device, "volatile.")
}
