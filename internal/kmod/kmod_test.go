package kmod

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for list, want := range map[string][]string{
		"": nil, "overlay": {"overlay"}, " a , b-c,, d_1 ": {"a", "b-c", "d_1"},
	} {
		got, err := Parse(list)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v", list, got, err)
		}
	}
	for _, list := range []string{"-r", "a,../b", "a b", "a;b", "a\nb"} {
		if got, err := Parse(list); err == nil {
			t.Errorf("%q gives %q", list, got)
		}
	}
}

func TestLoad(t *testing.T) {
	present, err := os.ReadDir("/sys/module")
	if err != nil || len(present) == 0 {
		t.Fatalf("the kernel shows no modules: %v", err)
	}
	if err := Load(t.Context(), present[0].Name()); err != nil {
		t.Errorf("%s is there already: %v", present[0].Name(), err)
	}
	err = Load(t.Context(), "berth_no_such_module")
	if err == nil || !strings.HasPrefix(err.Error(), "Failed to load kernel module 'berth_no_such_module'") {
		t.Errorf("a module that does not exist: %v", err)
	}
	if err := Load(t.Context(), "--help"); err == nil {
		t.Error("an option passes for a module")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("overlay,br_netfilter")
	f.Add("-r a")
	f.Fuzz(func(t *testing.T, list string) {
		names, err := Parse(list)
		for _, n := range names {
			if err == nil && (n == "" || n[0] == '-' || strings.ContainsAny(n, "/ \n\x00")) {
				t.Errorf("%q gives %q", list, n)
			}
		}
	})
}
