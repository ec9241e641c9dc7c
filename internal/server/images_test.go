package server

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"
)

// What curl -d sends for an image to be made is no image, whatever type it names; an upload is, and is whole after the look at it.
func TestWhatAnImageIsMadeOfIsKnownByItsContent(t *testing.T) {
	long := strings.Repeat("x", 10000)
	for body, want := range map[string]bool{
		`{"source":{"type":"instance","name":"c1"}}`: true,
		" {\n\t\"source\": {}}":                      true,
		`{"`:                                         true,
		"{\n" + strings.Repeat(" ", 2000) + `"source": {}}`: true,
		"{" + strings.Repeat(" ", 20000) + "x":              false,
		"metadata.yaml" + long:                              false,
		"{x}/metadata.yaml" + long:                          false,
		"\xfd7zXZ\x00" + long:                               false,
		"":                                                  false,
	} {
		r := &Request{Request: httptest.NewRequest("POST", "/1.0/images", strings.NewReader(body))}
		if got := beginsJSON(r); got != want {
			t.Errorf("%.30q: %t", body, got)
		}
		if rest, err := io.ReadAll(r.Body); err != nil || string(rest) != body {
			t.Errorf("%.30q: %d of %d bytes are left, %v", body, len(rest), len(body), err)
		}
	}
}
