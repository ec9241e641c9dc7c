package cli

import (
	"strings"
	"testing"
)

// TestProjectsWithoutRestrictedAreRefused: the server takes them, and lets the client into everything.
func TestProjectsWithoutRestrictedAreRefused(t *testing.T) {
	f := newFake(t)
	f.gives("GET /1.0", map[string]any{"auth": "trusted", "environment": map[string]any{}})
	got := berth("", "config", "trust", "add", "--name", "ann", "--projects", "blue")
	if got.code != 1 || !strings.Contains(got.err, "--restricted") || len(f.asked("POST ")) > 0 {
		t.Errorf("%+v, %q", got, f.asked("POST "))
	}
}
