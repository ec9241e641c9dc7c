package api

import (
	"encoding/json"
	"math/rand"
	"reflect"
	"testing"
	"testing/quick"
)

// TestAppendJSONIsMarshal holds the encoder that is written by hand to the fields and tags of the types.
func TestAppendJSONIsMarshal(t *testing.T) {
	same := func(s InstanceState) bool {
		want, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		got := s.AppendJSON([]byte("before"))
		if string(got) == "before"+string(want) {
			return true
		}
		t.Logf("got  %s\nwant %s", got, want)
		return false
	}
	random := rand.New(rand.NewSource(1))
	if err := quick.Check(same, &quick.Config{Rand: random, MaxCount: 300}); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"eth0", `a"b\c`, "<b>&", "é\u2028", "\xff", "\x7f", ""} {
		if !same(InstanceState{Status: name, Network: map[string]InstanceStateNetwork{name: {HostName: name}, "x": {}}}) {
			t.Errorf("name %q", name)
		}
	}
}

func TestAppendJSONAllocatesNothing(t *testing.T) {
	value, ok := quick.Value(reflect.TypeFor[InstanceStateNetwork](), rand.New(rand.NewSource(1)))
	if !ok {
		t.Fatal("no value")
	}
	one := value.Interface().(InstanceStateNetwork)
	one.Hwaddr, one.HostName, one.State, one.Type, one.Addresses = "00:16:3e:00:00:01", "veth1", "up", "broadcast", nil
	s := InstanceState{Status: "Running", Network: map[string]InstanceStateNetwork{"eth0": one, "lo": one}}
	b := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { b = s.AppendJSON(b[:0]) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
