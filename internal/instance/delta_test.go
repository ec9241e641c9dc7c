package instance

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/internal/rawjson"
	"github.com/berthd/berth/internal/store"
)

// encoded is how the store keeps a snapshot.
func encoded(t testing.TB, change func(*storedSnapshot)) string {
	t.Helper()
	s := &storedSnapshot{Body: oldBody(1)}
	change(s)
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// deltas are pairs of encodings, and whether the second can be had from the first.
func deltas(t testing.TB) (pairs []struct {
	name, like, data string
	ok               bool
}) {
	add := func(name, like, data string, ok bool) {
		pairs = append(pairs, struct {
			name, like, data string
			ok               bool
		}{name, like, data, ok})
	}
	config := func(change func(map[string]string)) string {
		return encoded(t, func(s *storedSnapshot) { change(s.Config) })
	}
	plain := encoded(t, func(*storedSnapshot) {})
	add("other times", plain, encoded(t, func(s *storedSnapshot) {
		s.CreatedAt, s.LastUsedAt, s.ExpiresAt = time.Now().UTC(), never, time.Now().Add(time.Hour).UTC()
	}), true)
	add("times elsewhere", plain, encoded(t, func(s *storedSnapshot) { s.CreatedAt = s.CreatedAt.In(time.FixedZone("", 3600)) }), true)
	add("other description", plain, encoded(t, func(s *storedSnapshot) { s.Description = "x" }), false)
	add("other device", plain, encoded(t, func(s *storedSnapshot) { s.Devices["root"]["size"] = "1GiB" }), false)
	add("shifting", plain, encoded(t, func(s *storedSnapshot) { s.Shifting = true }), false)
	add("both shifting", encoded(t, func(s *storedSnapshot) { s.Shifting = true }), encoded(t, func(s *storedSnapshot) { s.Shifting = true }), true)

	members, ok := rawjson.Members(plain)
	if !ok {
		t.Fatal(plain)
	}
	joined := func(members ...string) string { return "{" + strings.Join(members, ",") + "}" }
	backwards := slices.Clone(members)
	slices.Reverse(backwards)
	add("backwards", plain, joined(backwards...), true)
	add("forwards", joined(backwards...), plain, true)
	for n := range members {
		without := slices.Delete(slices.Clone(members), n, n+1)
		add("moved to the end", plain, joined(append(without, members[n])...), true)
		add("moved to the front", plain, joined(append([]string{members[n]}, without...)...), true)
		name := members[n][:rawjson.StringEnd(members[n])]
		own := ownMemberOf(name) != notOwn
		add("without "+name, plain, joined(without...), own) // as of a version that did not know it
		add("both without "+name, joined(without...), joined(without...), true)
		add("twice "+name, plain, joined(append(slices.Clone(members), members[n])...), false)
		add("in capitals "+name, plain, joined(append(slices.Clone(members), strings.ToUpper(name)+members[n][len(name):])...), false)
		odd := joined(append(slices.Clone(members), strings.ToUpper(name)+members[n][len(name):])...)
		add("both in capitals "+name, odd, odd, false)
	}
	add("null time", plain, strings.Replace(plain, `"2001-09-09T01:46:40Z"`, "null", 1), false)

	first := config(func(c map[string]string) { c["a"] = "1" })
	last := config(func(c map[string]string) { c["z"] = "1" })
	none := encoded(t, func(s *storedSnapshot) { s.Config = map[string]string{} })
	null := encoded(t, func(s *storedSnapshot) { s.Config = nil })
	odd := config(func(c map[string]string) {
		c[""], c[`a":`], c["a!"], c["é"], c["<&>"], c["user.user-data"] = "", `","`, "\\", "\u2028\x7f", `\"`, "#cloud-config\nruncmd: []\n"
	})
	for _, like := range []string{plain, first, last, none, null, odd} {
		for _, data := range []string{plain, first, last, none, odd} {
			add("other config", like, data, true)
		}
		add("null config", like, null, false)
	}
	for name, members := range map[string][2]string{
		"twice":           {`"image.os":"BusyBox"`, `"image.os":"BusyBox","image.os":"BusyBox"`},
		"out of order":    {`"image.os":"BusyBox"`, `"z":"","image.os":"BusyBox"`},
		"spelt otherwise": {`"BusyBox"`, `"Busy\u0042ox"`},
		"key otherwise":   {`"image.os"`, `"image\u002eos"`},
		"no UTF-8":        {`"BusyBox"`, "\"Busy\xffBox\""},
		"control":         {`"BusyBox"`, "\"Busy\nBox\""},
		"no such escape":  {`"BusyBox"`, `"Busy\x"`},
		"number":          {`"BusyBox"`, `1`},
		"null":            {`"BusyBox"`, `null`},
		"space":           {`"image.os":`, `"image.os": `},
		"no value":        {`"image.os":"BusyBox"`, `"image.os"`},
		"no end":          {`"BusyBox"`, `"BusyBox`},
		"no comma":        {`"BusyBox",`, `"BusyBox"`},
		"comma at end":    {`"f00d"`, `"f00d",`},
		"object":          {`"BusyBox"`, `{"config":"x"}`},
		"end":             {`"BusyBox",`, `"BusyBox"},`},
	} {
		add("member "+name, plain, strings.Replace(plain, members[0], members[1], 1), false)
	}

	tail := plain[strings.Index(plain, `,"created_at":"`):]
	trap := func(year int) string {
		return encoded(t, func(s *storedSnapshot) {
			s.Config["a"], s.Config["created_at"], s.Description = "b", "2001-09-09T01:46:40Z", `,"created_at":"`+tail
			s.Architecture = `"config":null,"config":{`
			s.CreatedAt = time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
		})
	}
	add("names in values", trap(2001), trap(2002), true)
	add("shorter name in values", trap(2001), trap(2001)[:strings.Index(trap(2001), `,"created_at":"`)]+tail, false)
	add("no time", plain, strings.Replace(plain, "2001", "200x", 1), false)
	add("more behind", plain, plain[:len(plain)-1]+`,"x":1}`, false)
	add("config again", plain, plain[:len(plain)-1]+`,"config":{"a":"1"}}`, false)
	add("cut off", plain, plain[:len(plain)-1], false)
	add("only times", plain, "{"+tail[1:], false)
	add("nothing", plain, "", false)
	return pairs
}

// checkDelta holds that what DecodeDelta accepts is what decoding gives, and is kept so.
func checkDelta(t *testing.T, like, data string) bool {
	t.Helper()
	var first, got Snapshot
	if json.Unmarshal([]byte(like), &first) != nil {
		return false
	}
	bytes := []byte(data)
	if !got.DecodeDelta(bytes, &first) {
		if !reflect.DeepEqual(got, Snapshot{}) {
			t.Errorf("after %s, %s is refused and gives %+v", like, data, got)
		}
		return false
	}
	clear(bytes) // as the store's own memory may be
	var want storedSnapshot
	if err := json.Unmarshal([]byte(data), &want); err != nil {
		t.Errorf("after %s, %s is accepted: %v", like, data, err)
	}
	if body := got.body(); !reflect.DeepEqual(body, want.Body) || !reflect.DeepEqual(got.ExpiresAt, want.ExpiresAt) {
		t.Errorf("after %s, %s gives %+v, not %+v", like, data, body, want)
	}
	if config := membersOf(want.Config); !reflect.DeepEqual(got.config, config) {
		t.Errorf("after %s, %s holds %q, not %q", like, data, got.config, config)
	}
	return true
}

func TestDeltaIsDecoding(t *testing.T) {
	for _, p := range deltas(t) {
		if ok := checkDelta(t, p.like, p.data); ok != p.ok {
			t.Errorf("%s: follows %v, not %v: %s", p.name, ok, p.ok, p.data)
		}
		for n := range p.data {
			checkDelta(t, p.like, p.data[:n])
			checkDelta(t, p.like, p.data[:n]+p.data[n+1:])
			checkDelta(t, p.like, p.data[:n]+`"`+p.data[n+1:])
		}
	}
}

func FuzzDecodeDelta(f *testing.F) {
	for _, p := range deltas(f) {
		f.Add(p.like, p.data)
	}
	f.Add(`{"config":{"a":"b","created_at":"2001-09-09T01:46:40Z","last_used_at":"2001-09-09T01:46:40Z","expires_at":"2001-09-09T01:46:40Z"}}`, `{"config":{}}`)
	f.Fuzz(func(t *testing.T, like, data string) { checkDelta(t, like, data) })
}

// TestDamagedSnapshotIsNotLoaded holds that a row is refused as a whole, though its config is decoded only when asked for.
func TestDamagedSnapshotIsNotLoaded(t *testing.T) {
	good := encoded(t, func(*storedSnapshot) {})
	for name, bad := range map[string]string{
		"config":  strings.Replace(good, `"BusyBox"`, `"Busy\x"`, 1),
		"member":  strings.Replace(good, `"BusyBox"`, `7`, 1),
		"comma":   strings.Replace(good, `"BusyBox",`, `"BusyBox"`, 1),
		"device":  strings.Replace(good, `"disk"`, `disk`, 1),
		"time":    strings.Replace(good, "2001", "200x", 1),
		"cut off": good[:strings.Index(good, "BusyBox")],
	} {
		m := store.NewMemory()
		_, err := m.Commit(t.Context(), []store.Op{
			{Key: "/instance-snapshots/default/c1/snap0", Value: []byte(good)}, {Key: "/instance-snapshots/default/c1/snap1", Value: []byte(bad)},
		})
		if err != nil {
			t.Fatal(err)
		}
		s := store.New(m)
		store.NewTable[Snapshot](s, "instance-snapshots")
		if err := s.Load(t.Context()); !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), "/instance-snapshots/default/c1/snap1") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSnapshotsLoadCheaply guards what each snapshot of a long history costs when the daemon starts.
func TestSnapshotsLoadCheaply(t *testing.T) {
	cost := func(each int, vary bool) float64 {
		h := newHouse(t, nil)
		addHistoryOf(t, h.Store, h.instances, h.snapshots, 2, each, vary)
		return testing.AllocsPerRun(5, func() {
			s := store.New(h.engine.Memory)
			store.NewTable[Snapshot](s, "instance-snapshots")
			h.do(s.Load(t.Context()))
		})
	}
	const more = 500
	for vary, most := range map[bool]float64{
		false: 2,         // the snapshot, and its path
		true:  2 + 1 + 4, // its members, and four: three differ, and one is there or, to be seen, not
	} {
		if each := (cost(50+more, vary) - cost(50, vary)) / (2 * more); each > most+0.5 {
			t.Errorf("varied %v: each snapshot takes %v allocations to load, %v and a part of a node are allowed", vary, each, most)
		}
	}
}
