package server

import (
	"strings"
	"testing"

	"github.com/berthd/berth/api"
)

// TestBodies: what a caller sends wrong is refused with a word about which field it was, and a panic costs one request.
func TestBodies(t *testing.T) {
	var got api.InstancesPost
	s := testServer(t, root,
		Route{Method: "POST", Path: "/1.0/things", Handle: func(r *Request) Response {
			got = api.InstancesPost{}
			if err := r.Decode(&got); err != nil {
				return Fail(err)
			}
			return Empty()
		}},
		Route{Method: "POST", Path: "/1.0/crash", Handle: func(r *Request) Response {
			var none *api.InstancesPost
			return Sync(none.Source.Type)
		}})
	for _, tt := range []struct {
		name, body string
		status     int
		text       string
	}{
		{"good", `{"name":"c1"}`, 200, ""},
		{"unknown fields", `{"name":"c1","color":"red","deep":{"a":[1]}}`, 200, ""},
		{"space after it", "{} \n\t", 200, ""},
		{"a number for text", `{"name":5}`, 400, "name"},
		{"text for an object", `{"config":"x"}`, 400, "config"},
		{"a number in a map", `{"config":{"limits.cpu":2}}`, 400, "config"},
		{"deep inside", `{"source":{"properties":[]}}`, 400, "source.properties"},
		{"a list", `[]`, 400, "array"},
		{"nothing", ``, 400, "EOF"},
		{"cut off", `{"name":"c1"`, 400, "EOF"},
		{"two values", `{}{}`, 400, "more than one"},
		{"garbage after it", `{} x`, 400, "more than one"},
		{"deeper than any reader goes", `{"a":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, 400, "depth"},
		{"too long", `{"name":"` + strings.Repeat("x", MaxBody) + `"}`, 413, "larger than"},
	} {
		status, _, env := call(t, s, "POST", "/1.0/things", tt.body)
		if status != tt.status || !strings.Contains(env.Error, tt.text) {
			t.Errorf("%s: %d %q, want %d %q", tt.name, status, env.Error, tt.status, tt.text)
		}
	}
	if status, _, env := call(t, s, "POST", "/1.0/crash", "{}"); status != 500 || env.Error != "internal error" {
		t.Errorf("panic: %d %s", status, env.Error)
	}
	if status, _, _ := call(t, s, "POST", "/1.0/things", `{"name":"after"}`); status != 200 || got.Name != "after" {
		t.Errorf("after a panic: %d %s", status, got.Name)
	}
}
