package instance

import (
	"bytes"
	"time"

	"github.com/berthd/berth/internal/store"
)

var _ store.Follower[Snapshot] = (*Snapshot)(nil)

// Follow implements store.Follower: snapshots of one instance as a rule differ in their times alone, which are the last
// that is encoded of one.
func (s *Snapshot) Follow(data []byte, like *Snapshot, likeData []byte) bool {
	head, times, ok := cutTimes(data)
	if !ok {
		return false
	}
	if likeHead, _, ok := cutTimes(likeData); !ok || !bytes.Equal(head, likeHead) {
		return false
	}
	*s = *like
	s.CreatedAt, s.LastUsedAt, s.ExpiresAt = times[0], times[1], times[2]
	return true
}

// timeKeys come before the times of a snapshot, with the quote that ends the time before.
var timeKeys = [...][]byte{[]byte(`,"created_at":"`), []byte(`","last_used_at":"`), []byte(`","expires_at":"`)}

// cutTimes cuts the encoding of a snapshot before its times, if they are all it ends with. It need not look at what
// is before them. Where one text is JSON, and both end so, what they end with is in neither within a string (its second
// character would end that, and no name stands beside a string) nor within another object (it closes one only): then
// equal heads say the same.
func cutTimes(data []byte) (head []byte, times [len(timeKeys)]time.Time, ok bool) {
	head, ok = bytes.CutSuffix(data, []byte(`"}`))
	for n := len(timeKeys) - 1; n >= 0 && ok; n-- {
		at := bytes.LastIndex(head, timeKeys[n])
		// A time has no quotes: nothing else is between two keys.
		ok = at >= 0 && times[n].UnmarshalText(head[at+len(timeKeys[n]):]) == nil
		head = head[:max(at, 0)]
	}
	return head, times, ok
}
