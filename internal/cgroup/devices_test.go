package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDevice(t *testing.T) {
	h, err := Probe()
	if err != nil {
		t.Fatal(err)
	}
	g := h.Group("berth-test-devices")
	root := h.v1["devices"]
	if root == "" {
		if done, err := g.Device("c 1:9 r", true); done || err != nil {
			t.Errorf("without such control groups: %t, %v", done, err)
		}
		t.Skip("this host has no control groups for devices of version 1")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	below := filepath.Join(root, "berth-test-devices", "a", "b")
	if err := os.Mkdir(filepath.Join(root, "berth-test-devices"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
	})
	if done, err := g.Device("a", false); !done || err != nil { // which the kernel only takes while there is none below
		t.Fatal(done, err)
	}
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		rule  string
		allow bool
		want  string
	}{{"c 1:9 r", true, "c 1:9 r"}, {"c 1:8 rw", true, "c 1:9 r,c 1:8 rw"}, {"c 1:9 rwm", false, "c 1:8 rw"}} {
		if done, err := g.Device(step.rule, step.allow); !done || err != nil {
			t.Fatalf("%+v: %t, %v", step, done, err)
		}
		for dir := below; dir != root; dir = filepath.Dir(dir) {
			raw, err := os.ReadFile(filepath.Join(dir, "devices.list"))
			if got := strings.ReplaceAll(strings.TrimSpace(string(raw)), "\n", ","); err != nil || got != step.want {
				t.Errorf("after %+v the rules of %s are %q, %v", step, dir, got, err)
			}
		}
	}
	if _, err := g.Device("nonsense", true); err == nil {
		t.Error("a rule that is none")
	}
	if _, err := h.Group("berth-test-none").Device("c 1:9 r", true); err == nil {
		t.Error("a group that is not there")
	}
}
