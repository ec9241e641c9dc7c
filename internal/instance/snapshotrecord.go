package instance

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/berthd/berth/internal/device"
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
	ExpiresAt time.Time   `json:"expires_at"`
	Pinned    *pinnedRoot `json:"pinned,omitempty"`
}

// pinnedRoot is the device that a move to another project has given a snapshot as its root disk, so that a move that is taken back takes it away.
type pinnedRoot struct {
	Device string        `json:"device"`
	Was    device.Config `json:"was,omitempty"` // what it had of that name before; nil for none
}

// snapshotRest is what a snapshot has besides its times and its config, and as a rule in common with those beside it.
type snapshotRest struct {
	body   Body // without what Snapshot has
	pinned *pinnedRoot
	// members are those of the record that it was read from, in their order and without what Snapshot has; nil if it was not read, or
	// is of another shape than MarshalJSON's.
	members []string
}

// newSnapshot makes a record that shares with b what is not its config. b is not changed from then on.
func newSnapshot(b Body, expiresAt time.Time) *Snapshot {
	s := &Snapshot{ExpiresAt: expiresAt, CreatedAt: b.CreatedAt, LastUsedAt: b.LastUsedAt, config: membersOf(b.Config)}
	b.Config, b.CreatedAt, b.LastUsedAt = nil, time.Time{}, time.Time{}
	s.rest = &snapshotRest{body: b}
	return s
}

// withBody is the snapshot with another body.
func (s *Snapshot) withBody(b Body) *Snapshot {
	next := newSnapshot(b, s.ExpiresAt)
	next.rest.pinned = s.rest.pinned
	return next
}

// body makes what is in common with an instance. The config is the caller's own, the rest is shared.
func (s *Snapshot) body() Body {
	b := s.rest.body
	b.Config, b.CreatedAt, b.LastUsedAt = s.config.decode(), s.CreatedAt, s.LastUsedAt
	return b
}

// MarshalJSON implements json.Marshaler.
func (s *Snapshot) MarshalJSON() ([]byte, error) {
	return json.Marshal(&storedSnapshot{s.body(), s.ExpiresAt, s.rest.pinned})
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Snapshot) UnmarshalJSON(data []byte) error {
	var stored storedSnapshot
	if err := json.Unmarshal(data, &stored); err != nil {
		return err
	}
	*s = *newSnapshot(stored.Body, stored.ExpiresAt)
	s.rest.pinned, s.rest.members = stored.Pinned, restMembers(data)
	return nil
}

// Intern implements store.Interner.
func (s *Snapshot) Intern(like *Snapshot) {
	if like == nil {
		return
	}
	s.config = s.config.share(like.config)
	if a, b := s.rest, like.rest; a.members != nil && slices.Equal(a.members, b.members) {
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
