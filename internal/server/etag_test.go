package server

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// TestAnETagTellsNothingOfOthers: the store counts everybody's changes. What is shown is the same for one version, matches it, and says no number.
func TestAnETagTellsNothingOfOthers(t *testing.T) {
	version := ETag(258)
	s := testServer(t, root,
		Route{Method: "GET", Path: "/1.0/v", Handle: func(*Request) Response { return SyncETag("v", version) }},
		Route{Method: "PUT", Path: "/1.0/v", Handle: func(r *Request) Response { return done(r.IfMatch(version)) }})
	s.services.ETagKey = []byte("a secret of the daemon")
	shown := func() string {
		t.Helper()
		_, header, _ := call(t, s, "GET", "/1.0/v", "")
		etag, err := strconv.Unquote(header.Get("ETag"))
		if err != nil {
			t.Fatalf("ETag %q", header.Get("ETag"))
		}
		return etag
	}
	first := shown()
	if first != shown() || len(first) != 32 || strings.Contains(first, "258") {
		t.Errorf("version 258 is shown as %s", first)
	}
	for etag, want := range map[string]int{first: 200, strconv.Quote(first): 200, "258": 412, "": 200, "*": 200} {
		if status, _, _ := call(t, s, "PUT", "/1.0/v", "", "If-Match", etag); status != want {
			t.Errorf("If-Match %q: %d", etag, status)
		}
	}
	version = ETag(259)
	if next := shown(); next == first {
		t.Error("another version has the same ETag")
	}
	if status, _, answer := call(t, s, "PUT", "/1.0/v", "", "If-Match", first); status != http.StatusPreconditionFailed || strings.Contains(answer.Error, "259") {
		t.Errorf("an old ETag: %d %s", status, answer.Error)
	}
	s.services.ETagKey = []byte("another daemon's")
	version = ETag(258)
	if shown() == first {
		t.Error("it can be told without the secret")
	}
}

func TestOriginsAsPeopleWriteThem(t *testing.T) {
	for allowed, origins := range map[string]map[string]bool{
		"https://ui.example":      {"https://ui.example": true, "https://ui.example:444": false, "http://ui.example": false, "": false},
		"https://UI.example/":     {"https://ui.example": true, "https://ui.example.evil": false},
		"https://ui.example:8443": {"https://ui.example:8443": true, "https://ui.example": false},
		"*":                       {"https://ui.example": false},
		"":                        {"": false, "https://ui.example": false},
	} {
		for origin, want := range origins {
			if got := isOrigin(allowed, origin); got != want {
				t.Errorf("%q allows %q: %t", allowed, origin, got)
			}
		}
	}
}
