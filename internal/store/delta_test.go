package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/berthd/berth/internal/store"
)

// beast counts how often one of its kind is decoded whole.
type beast struct {
	Legs map[string]string `json:"legs"`
	Name string            `json:"name"`
}

var decoded int

func (b *beast) UnmarshalJSON(data []byte) error {
	decoded++
	type plain beast
	return json.Unmarshal(data, (*plain)(b))
}

func (b *beast) DecodeDelta(data []byte, like *beast) bool {
	legs, _ := json.Marshal(like.Legs)
	name, ok := bytes.CutPrefix(data, fmt.Appendf(nil, `{"legs":%s,"name":"`, legs))
	if ok {
		b.Legs, b.Name = like.Legs, string(bytes.TrimSuffix(name, []byte(`"}`)))
	}
	return ok
}

func TestLoadDecodesDeltas(t *testing.T) {
	m := store.NewMemory()
	values := []string{
		`{"legs":{"a":"1"},"name":"x"}`,
		`{"legs":{"a":"1"},"name":"y"}`, // follows the first
		`{"legs":{"a":"2"},"name":"z"}`,
		`{"legs":{"a":"2"},"name":"z"}`, // is the one before
		`{"legs":{"a":"2"},"name":"u"}`, // follows them
		`{"legs":{"a":"1"},"name":"x"}`,
	}
	for n, value := range values {
		if _, err := m.Commit(t.Context(), []store.Op{{Key: fmt.Sprintf("/beasts/a%%2Fb/%d", n), Value: []byte(value)}}); err != nil {
			t.Fatal(err)
		}
	}
	s := store.New(m)
	beasts := store.NewTable[beast](s, "beasts")
	decoded = 0
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if decoded != 3 {
		t.Errorf("%d values were decoded whole, not 3", decoded)
	}
	rows := beasts.List()
	for n, row := range rows {
		if got, _ := json.Marshal(row.Value); string(got) != values[n] {
			t.Errorf("row %d is %s, not %s", n, got, values[n])
		}
		if row.Revision != store.Revision(n+1) || row.Path[0] != "a/b" || row.Path[1] != fmt.Sprint(n) {
			t.Errorf("row %d is at %q, revision %d", n, row.Path, row.Revision)
		}
	}
	if rows[2].Value != rows[3].Value {
		t.Error("equal values are held twice")
	}
}

// TestLoadFindsWhatIsDamaged holds that what follows is checked as what does not.
func TestLoadFindsWhatIsDamaged(t *testing.T) {
	const good = `{"legs":null,"name":"x"}`
	for _, op := range []store.Op{
		{Key: "/beasts/b", Value: []byte(`{"legs":[],"name":"x"}`)},
		{Key: "/beasts/b", Value: []byte(`{"legs":null`)},
		{Key: "/beasts/b", Value: nil},
		{Key: "/beasts/b%zz", Value: []byte(good)},
	} {
		m := store.NewMemory()
		if _, err := m.Commit(t.Context(), []store.Op{{Key: "/beasts/a", Value: []byte(good)}, op}); err != nil {
			t.Fatal(err)
		}
		s := store.New(m)
		store.NewTable[beast](s, "beasts")
		if err := s.Load(t.Context()); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s = %s: %v", op.Key, op.Value, err)
		}
	}
}
