package instance

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"reflect"
	"testing"
	"testing/quick"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/store"
)

// filler fills every field of a value with another value than that of any other field; none is empty.
type filler struct{ count int }

func (f *filler) fill(v reflect.Value) {
	f.count++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(int64(1e9+f.count), 0).UTC()))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for n := range v.NumField() {
			if v.Type().Field(n).IsExported() {
				f.fill(v.Field(n))
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		f.fill(v.Index(0))
		f.fill(v.Index(1))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			f.fill(key)
			f.fill(value)
			v.SetMapIndex(key, value)
		}
	case reflect.String:
		v.SetString(fmt.Sprintf(`{"<%d>":`, f.count))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(f.count))
	case reflect.Uint64:
		v.SetUint(uint64(f.count))
	default:
		panic("nothing is known to fill " + v.Type().String())
	}
}

func marshalled(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// writtenSnapshot is what snapshotForm makes of the fields of an api.InstanceSnapshot.
func writtenSnapshot(t *testing.T, v *api.InstanceSnapshot) string {
	t.Helper()
	encoded, err := snapshotForm.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	w := &snapshotWriter{encoded: encoded, own: membersOf(v.Config).append(nil)}
	if len(v.ExpandedConfig) > 0 {
		w.expanded = membersOf(v.ExpandedConfig).append(nil)
	}
	w.row = store.Row[Snapshot]{Path: []string{"", "", v.Name}, Value: &Snapshot{ExpiresAt: v.ExpiresAt, CreatedAt: v.CreatedAt, LastUsedAt: v.LastUsedAt}}
	return string(w.encoded.Append(nil, w))
}

// TestFormsAreMarshal holds the forms to all fields of their types, those too that nothing sets yet.
func TestFormsAreMarshal(t *testing.T) {
	for _, full := range []bool{false, true} {
		var snapshot api.InstanceSnapshot
		var instance api.InstanceFull
		if full {
			new(filler).fill(reflect.ValueOf(&snapshot).Elem())
			new(filler).fill(reflect.ValueOf(&instance).Elem())
		}
		if got, want := writtenSnapshot(t, &snapshot), marshalled(t, &snapshot); got != want {
			t.Errorf("snapshot: %s", cmp.Diff(want, got))
		}
		// These are of other records: TestAppendStateIsMarshal and the snapshot above have them.
		instance.Backups, instance.State, instance.Snapshots = nil, &api.InstanceState{}, nil
		instance.StatusCode = api.Running
		instance.Status = instance.StatusCode.String()
		encoded, err := instanceForm.Encode(&instance)
		if err != nil {
			t.Fatal(err)
		}
		w := &instanceWriter{status: instance.StatusCode, state: instance.State}
		if got, want := string(encoded.Append(nil, w)), marshalled(t, &instance.Instance); got != want {
			t.Errorf("instance: %s", cmp.Diff(want, got))
		}
		w.full = true
		if got, want := string(encoded.Append(nil, w)), marshalled(t, &instance); got != want {
			t.Errorf("full instance: %s", cmp.Diff(want, got))
		}
	}
}

// TestAppendStateIsMarshal holds the encoder that is written by hand to the fields and tags of the types.
func TestAppendStateIsMarshal(t *testing.T) {
	same := func(s api.InstanceState) bool {
		got, want := string(appendState([]byte("before"), &s)), "before"+marshalled(t, s)
		if got != want {
			t.Log(cmp.Diff(want, got))
		}
		return got == want
	}
	var filled api.InstanceState
	new(filler).fill(reflect.ValueOf(&filled).Elem())
	if !same(filled) {
		t.Error("with every field")
	}
	random := rand.New(rand.NewSource(1))
	if err := quick.Check(same, &quick.Config{Rand: random, MaxCount: 300}); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"eth0", `a"b\c`, "<b>&", "é\u2028", "\xff", "\x7f", ""} {
		if !same(api.InstanceState{Status: name, Network: map[string]api.InstanceStateNetwork{name: {HostName: name}, "x": {}}}) {
			t.Errorf("name %q", name)
		}
	}
}

func TestAppendStateAllocatesNothing(t *testing.T) {
	s := busyState()
	b := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { b = appendState(b[:0], s) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestEveryFieldIsShown looks at an instance and its snapshot of which every field is set: what the API has of both is in the list. A new
// field of the API that no record fills stands below, with the reason.
func TestEveryFieldIsShown(t *testing.T) {
	empty := map[string]string{
		"Instance.InstancePut.Restore": "is asked for, never shown",
		"Backups":                      "there are none",
		"State.Disk":                   "has none in this runtime", "State.Memory": "has none in this runtime", "State.Network": "has none in this runtime",
		"State.CPU": "has none in this runtime", "State.Processes": "has none in this runtime",
	}
	h := newHouse(t, nil)
	var body Body
	new(filler).fill(reflect.ValueOf(&body).Elem())
	_, err := h.Store.Commit(t.Context(),
		h.instances.Put(&Instance{Body: body, Project: "default", Name: "c1", Pool: "p1"}, "default", "c1"),
		h.snapshots.Put(newSnapshot(body, time.Unix(1e9, 0).UTC()), "default", "c1", "s1"))
	h.do(err)
	h.rt.mu.Lock()
	h.rt.state["c1"] = api.Running
	h.rt.mu.Unlock()
	h.checkWritten()
	one := h.ListFull(t.Context(), "default", nil)[0]
	var check func(path string, v reflect.Value)
	check = func(path string, v reflect.Value) {
		for n := range v.NumField() {
			field, name := v.Field(n), v.Type().Field(n).Name
			if field.Kind() == reflect.Pointer {
				field = field.Elem()
			}
			if empty[path+name] != "" {
				continue
			}
			if !field.IsValid() || field.IsZero() {
				t.Errorf("%s%s is not shown", path, name)
			} else if field.Kind() == reflect.Struct && field.Type() != reflect.TypeFor[time.Time]() {
				check(path+name+".", field)
			} else if list, ok := field.Interface().([]api.InstanceSnapshot); ok {
				check(path+name+".", reflect.ValueOf(list[0]))
			}
		}
	}
	check("", reflect.ValueOf(*one))
}
