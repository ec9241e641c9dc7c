package instance

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/internal/rawjson"
	"github.com/berthd/berth/internal/store"
)

// kept is a record as versions before wrote it, and this one does.
const kept = `{"type":"container","architecture":"x86_64","config":{"image.os":"\u003c\u0026\u003e","volatile.uuid":"3f0b"},` +
	`"devices":{"root":{"path":"/","pool":"p1","type":"disk"}},"profiles":["default"],"ephemeral":true,"stateful":true,` +
	`"description":"\"config\":null","created_at":"2001-09-09T01:46:40Z","last_used_at":"1970-01-01T00:00:00Z","shifting":true,` +
	`"expires_at":"0001-01-01T00:00:00Z"}`

func TestRecordOfSnapshotKeepsItsForm(t *testing.T) {
	var s Snapshot
	if err := json.Unmarshal([]byte(kept), &s); err != nil {
		t.Fatal(err)
	}
	if got, err := json.Marshal(&s); err != nil || string(got) != kept {
		t.Errorf("%s is written as %s, %v", kept, got, err)
	}
	for _, again := range []Snapshot{*newSnapshot(s.body(), s.ExpiresAt), *s.ofCopy()} {
		if got, err := json.Marshal(&again); err != nil || string(got) != kept {
			t.Errorf("%s is written as %s, %v", kept, got, err)
		}
	}
}

// TestRecordHasEveryField holds a record to the fields of a snapshot: what is new of them is written and read, alone and after another.
func TestRecordHasEveryField(t *testing.T) {
	var want storedSnapshot
	new(filler).fill(reflect.ValueOf(&want).Elem())
	full := newSnapshot(want.Body, want.ExpiresAt)
	full.rest.pinned = want.Pinned
	data, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	if plain, _ := json.Marshal(&want); string(data) != string(plain) {
		t.Errorf("%s, not %s", data, plain)
	}
	var alone Snapshot
	if err := json.Unmarshal(data, &alone); err != nil {
		t.Fatal(err)
	}
	if got := (storedSnapshot{alone.body(), alone.ExpiresAt, alone.rest.pinned}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, not %+v", got, want)
	}
	if !checkDelta(t, string(data), string(data)) {
		t.Errorf("nothing is shared between two records of %s", data)
	}
}

// TestRecordsInAnotherOrderAreShared loads a history that another version wrote: in another order, and without a member that was not
// known then, between others of today's form.
func TestRecordsInAnotherOrderAreShared(t *testing.T) {
	members, _ := rawjson.Members(kept)
	slices.Reverse(members)
	backwards := "{" + strings.Join(members, ",") + "}"
	old := strings.Replace(kept, `"description":"\"config\":null",`, "", 1)
	m := store.NewMemory()
	var ops []store.Op
	records := []string{kept, backwards, kept, old, old, backwards, backwards}
	for n, record := range records {
		record = strings.Replace(record, "2001", fmt.Sprint(2001+n), 1)
		ops = append(ops, store.Op{Key: fmt.Sprintf("/instance-snapshots/default/c1/snap%d", n), Value: []byte(record)})
	}
	if _, err := m.Commit(t.Context(), ops); err != nil {
		t.Fatal(err)
	}
	s := store.New(m)
	snapshots := store.NewTable[Snapshot](s, "instance-snapshots")
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	var rests []*snapshotRest
	for n, row := range snapshots.List() {
		var want storedSnapshot
		if err := json.Unmarshal([]byte(records[n]), &want); err != nil {
			t.Fatal(err)
		}
		want.CreatedAt = time.Date(2001+n, 9, 9, 1, 46, 40, 0, time.UTC)
		if got := (storedSnapshot{row.Value.body(), row.Value.ExpiresAt, row.Value.rest.pinned}); !reflect.DeepEqual(got, want) {
			t.Errorf("%d: %+v, not %+v", n, got, want)
		}
		rests = append(rests, row.Value.rest)
	}
	for _, pair := range [][2]int{{0, 1}, {1, 2}, {3, 4}, {5, 6}} {
		if rests[pair[0]] != rests[pair[1]] {
			t.Errorf("snapshots %v hold the same twice", pair)
		}
	}
}
