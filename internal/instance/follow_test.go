package instance

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/internal/store"
)

// encoded is how the store keeps a snapshot.
func encoded(t testing.TB, change func(*Snapshot)) string {
	t.Helper()
	s := &Snapshot{Body: oldBody(1)}
	change(s)
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// follows are pairs of encodings, and whether the second can be had from the first.
func follows(t testing.TB) (pairs []struct {
	name, like, data string
	ok               bool
}) {
	add := func(name, like, data string, ok bool) {
		pairs = append(pairs, struct {
			name, like, data string
			ok               bool
		}{name, like, data, ok})
	}
	plain := encoded(t, func(*Snapshot) {})
	add("other times", plain, encoded(t, func(s *Snapshot) {
		s.CreatedAt, s.LastUsedAt, s.ExpiresAt = time.Now().UTC(), never, time.Now().Add(time.Hour).UTC()
	}), true)
	add("times elsewhere", plain, encoded(t, func(s *Snapshot) { s.CreatedAt = s.CreatedAt.In(time.FixedZone("", 3600)) }), true)
	add("other description", plain, encoded(t, func(s *Snapshot) { s.Description = "x" }), false)
	add("other configuration", plain, encoded(t, func(s *Snapshot) { s.Config["user.a"] = "b" }), false)
	add("shifting", plain, encoded(t, func(s *Snapshot) { s.Shifting = true }), false)
	tail := plain[strings.Index(plain, `,"created_at":"`):]
	trap := func(year int) string {
		return encoded(t, func(s *Snapshot) {
			s.Config["a"], s.Config["created_at"], s.Description = "b", "2001-09-09T01:46:40Z", `,"created_at":"`+tail
			s.CreatedAt = time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
		})
	}
	add("names in values", trap(2001), trap(2002), true)
	add("shorter name in values", trap(2001), trap(2001)[:strings.Index(trap(2001), `,"created_at":"`)]+tail, false)
	add("no time", plain, strings.Replace(plain, "2001", "200x", 1), false)
	add("more behind", plain, plain[:len(plain)-1]+`,"x":1}`, false)
	add("cut off", plain, plain[:len(plain)-1], false)
	add("only times", plain, "{"+tail[1:], false)
	add("nothing", plain, "", false)
	return pairs
}

// checkFollow holds that what Follow accepts is what decoding gives.
func checkFollow(t *testing.T, like, data string) bool {
	t.Helper()
	var first, want, got Snapshot
	if json.Unmarshal([]byte(like), &first) != nil {
		return false
	}
	if !got.Follow([]byte(data), &first, []byte(like)) {
		return false
	}
	if err := json.Unmarshal([]byte(data), &want); err != nil {
		t.Errorf("after %s, %s is accepted: %v", like, data, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("after %s, %s gives %+v, not %+v", like, data, got, want)
	}
	return true
}

func TestFollowIsDecoding(t *testing.T) {
	for _, p := range follows(t) {
		if ok := checkFollow(t, p.like, p.data); ok != p.ok {
			t.Errorf("%s: follows %v, not %v", p.name, ok, p.ok)
		}
	}
}

func FuzzFollow(f *testing.F) {
	for _, p := range follows(f) {
		f.Add(p.like, p.data)
	}
	f.Add(`{"config":{"a":"b","created_at":"2001-09-09T01:46:40Z","last_used_at":"2001-09-09T01:46:40Z","expires_at":"2001-09-09T01:46:40Z"}}`, `{"config":{}}`)
	f.Fuzz(func(t *testing.T, like, data string) { checkFollow(t, like, data) })
}

// TestSnapshotsLoadCheaply guards what each snapshot of a long history costs when the daemon starts.
func TestSnapshotsLoadCheaply(t *testing.T) {
	cost := func(each int) float64 {
		h := newHouse(t, nil)
		addHistory(t, h.Store, h.instances, h.snapshots, 2, each)
		return testing.AllocsPerRun(5, func() {
			s := store.New(h.engine.Memory)
			store.NewTable[Snapshot](s, "instance-snapshots")
			h.do(s.Load(t.Context()))
		})
	}
	const more, most = 500, 2 // the snapshot, and its path
	if each := (cost(50+more) - cost(50)) / (2 * more); each > most+0.5 {
		t.Errorf("each snapshot takes %v allocations to load, %d and a part of a node are allowed", each, most)
	}
}
