package rawjson

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

type inner struct {
	A string `json:"a"`
	B []int  `json:"b,omitempty"`
}

type outer struct {
	inner
	Skipped string `json:"-"`
	hidden  int
	Plain   bool
	Time    time.Time         `json:"time"`
	C       map[string]string `json:"c,omitempty"`
	D       int64             `json:"d"`
	E       *inner            `json:"e,omitempty"`
}

var openOuter = map[string]func([]byte, *outer) []byte{
	"a":     func(b []byte, o *outer) []byte { return AppendString(b, o.A) },
	"Plain": func(b []byte, o *outer) []byte { return appendMarshalled(b, o.Plain) },
	"b": func(b []byte, o *outer) []byte {
		if len(o.B) == 0 {
			return b
		}
		return appendMarshalled(b, o.B)
	},
	"time": func(b []byte, o *outer) []byte { return AppendTime(b, o.Time) },
	"c": func(b []byte, o *outer) []byte {
		if len(o.C) == 0 {
			return b
		}
		return AppendMap(b, o.C, AppendString)
	},
	"d": func(b []byte, o *outer) []byte { return appendMarshalled(b, o.D) },
	"e": func(b []byte, o *outer) []byte {
		if o.E == nil {
			return b
		}
		return appendMarshalled(b, o.E)
	},
}

func appendMarshalled(b []byte, v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return append(b, data...)
}

// TestFormIsMarshal opens every set of fields, and fills in another value than the one that was encoded.
func TestFormIsMarshal(t *testing.T) {
	full := outer{inner: inner{`x"},{`, []int{1, 2}}, hidden: 1, Plain: true, Time: time.Unix(1e9, 5).UTC(), C: map[string]string{"<": `\"`, "d": `"d":1`}, D: math.MinInt64, E: &inner{A: "]"}}
	names := FieldNames(reflect.TypeFor[outer]())
	if got := strings.Join(names, " "); got != "a b Plain time c d e" {
		t.Fatal(got)
	}
	for set := range 1 << len(names) {
		open := map[string]func([]byte, *outer) []byte{}
		for n, name := range names {
			if set>>n&1 == 1 {
				open[name] = openOuter[name]
			}
		}
		form := NewForm[outer](open)
		for _, closed := range []outer{full, {}} {
			for _, filled := range []outer{full, {}} {
				e, err := form.Encode(&closed)
				if err != nil {
					t.Fatal(err)
				}
				got := string(e.Append([]byte("before"), &filled))
				want := closed
				for n, to := range []any{&want.A, &want.B, &want.Plain, &want.Time, &want.C, &want.D, &want.E} {
					from := []any{filled.A, filled.B, filled.Plain, filled.Time, filled.C, filled.D, filled.E}[n]
					if set>>n&1 == 1 {
						reflect.ValueOf(to).Elem().Set(reflect.ValueOf(from))
					}
				}
				if data, _ := json.Marshal(want); got != "before"+string(data) {
					t.Fatalf("open %07b: %s, not %s", set, got, data)
				}
			}
		}
	}
}

func TestFormRefusesWhatItCannotFill(t *testing.T) {
	refused := func(name string, make func()) {
		defer func() {
			if recover() == nil {
				t.Errorf("%s: a form is made", name)
			}
		}()
		make()
	}
	refused("a field that is not there", func() {
		NewForm[outer](map[string]func([]byte, int) []byte{"nosuch": func(b []byte, _ int) []byte { return b }})
	})
	refused("two fields of a name", func() {
		NewForm[struct {
			inner
			Other string `json:"a"`
		}](map[string]func([]byte, int) []byte{})
	})
	type own struct{ json.RawMessage }
	if e, err := NewForm[own](map[string]func([]byte, int) []byte{}).Encode(&own{json.RawMessage(`{"x":1}`)}); err == nil {
		t.Errorf("a type that encodes itself is encoded as %s", e.Append(nil, 0))
	}
}

func TestAppendStringIsMarshal(t *testing.T) {
	for _, s := range []string{"", "plain", `a"b\c`, "<b>&", "é\u2028", "\xff", "\x7f", "\n", "{", "["} {
		want, _ := json.Marshal(map[string]string{"a": s, "b": s})
		got := append(AppendStringMember(AppendStringMember([]byte{'{'}, "a", s), "b", s), '}')
		if string(got) != string(want) {
			t.Errorf("%q: %s, not %s", s, got, want)
		}
	}
}

func TestAppendTimeRefusesWhatMarshalRefuses(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a year of five digits is written")
		}
	}()
	AppendTime(nil, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))
}

func FuzzMembers(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1}`, `{"a":-1.5E+2,"b":true,"":null,"c":[{"x":"]}\""}],"d":{}}`, `{"a":1,}`, `{"a"}`, `{"a": 1}`, `{"a":1} `, `{"a":"`, `{"a":[}`, `{`, ``, `[]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		members, ok := Members(s)
		if again, same := Members([]byte(s)); same != ok || len(again) != len(members) {
			t.Fatalf("%q: %q as a string, %q as bytes", s, members, again)
		}
		if ok && "{"+strings.Join(members, ",")+"}" != s {
			t.Fatalf("%q is not %q", members, s)
		}
		if !ok || !json.Valid([]byte(s)) {
			return
		}
		values := map[string]json.RawMessage{}
		if err := json.Unmarshal([]byte(s), &values); err != nil {
			t.Fatal(err)
		}
		seen := map[string]string{}
		for _, m := range members {
			end := StringEnd(m)
			var key string
			if err := json.Unmarshal([]byte(m[:end]), &key); err != nil {
				t.Fatalf("%q: %v", m, err)
			}
			seen[key] = m[end+1:]
		}
		if len(seen) != len(values) {
			t.Fatalf("%q: %v, not %v", s, seen, values)
		}
		for key, value := range values {
			if strings.TrimSpace(seen[key]) != string(value) {
				t.Fatalf("%q: %q is %q, not %q", s, key, seen[key], value)
			}
		}
	})
}

// TestMembersOfWhatMarshalWrites holds that compact objects are all taken.
func TestMembersOfWhatMarshalWrites(t *testing.T) {
	for _, v := range []any{outer{}, outer{inner: inner{A: `"}]{[\`, B: []int{1}}, E: &inner{}}, map[string]any{"a": []any{1.5e300, nil, false, map[string]any{}}, "": "x"}} {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]json.RawMessage{}
		if err := json.Unmarshal(data, &values); err != nil {
			t.Fatal(err)
		}
		if members, ok := Members(data); !ok || len(members) != len(values) {
			t.Errorf("%s: %q", data, members)
		}
	}
}
