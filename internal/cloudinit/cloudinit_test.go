package cloudinit

import (
	"fmt"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
)

func TestValuesThatAreNoYAML(t *testing.T) {
	const tab = ": found character that cannot start any token"
	for _, c := range []struct{ key, value, want string }{
		{"cloud-init.user-data", "#cloud-config\npackages:\n\t- x\n", "line 3, column 1" + tab},
		{"user.vendor-data", "\n #Cloud-Config\npackages:\n  é: \t@x\n", "line 4, column 7" + tab},
		{"cloud-init.vendor-data", "#cloud-config\nfoo", `line 2, column 1: keys with values are wanted, such as "version: 1"`},
		{"user.user-data", "#cloud-config\n- a", `line 2, column 1: keys with values are wanted, such as "version: 1"`},
		{"cloud-init.user-data", "#cloud-config-archive\n- a\n\t- b", "line 3, column 1: found a tab character that violates indentation"},
		{"cloud-init.network-config", "a: b: c", "line 1, column 5: mapping values are not allowed in this context"},
		{"cloud-init.network-config", "#!/bin/sh\n\techo", "line 2, column 1" + tab},
		{"user.network-config", "a: *x", "line 1, column 5: unknown anchor 'x' referenced"},
		{"user.network-config", "a: 1\nb: 'x\n", "line 2, column 4: found unexpected end of stream"},
		{"user.meta-data", "a:\n  b: 1\n c: 2", ""},
		// What is no cloud-config, and what is valid.
		{"cloud-init.user-data", "#!/bin/sh\n\techo", ""},
		{"cloud-init.user-data", "## template: jinja\n#cloud-config\n\t{% if x %}", ""},
		{"cloud-init.user-data", "#include\n\thttp://x", ""},
		{"cloud-init.user-data", "#cloud-config-jsonp\n\t[]", ""},
		{"cloud-init.user-data", "#cloud-boothook\n\tx", ""},
		{"cloud-init.user-data", "Content-Type: multipart/mixed; boundary=\"x\"\nMIME-Version: 1.0\n\n--x\n\ty", ""},
		{"cloud-init.user-data", "packages:\n\t- x", ""},
		{"cloud-init.user-data", "#cloud-config", ""},
		{"cloud-init.user-data", "#cloud-config\npackages:\n  - x\n", ""},
		{"cloud-init.user-data", "#cloud-config-archive\n- type: text/cloud-config\n  content: |\n    a: 1\n", ""},
		{"cloud-init.network-config", "version: 1\nconfig: []\n", ""},
		{"user.other", "a:\n\t- b", ""},
	} {
		err := Check(nil, map[string]string{c.key: c.value})
		if c.want == "" && c.key == "user.meta-data" {
			if err == nil || !strings.HasPrefix(err.Error(), c.key+" is not valid YAML: line ") {
				t.Errorf("%q: %v", c.value, err)
			}
			continue
		}
		want := ""
		if c.want != "" {
			want = c.key + " is not valid YAML: " + c.want
		}
		if got := errorText(err); got != want || err != nil && api.StatusOf(err) != 400 {
			t.Errorf("%s=%q:\n got %s\nwant %s", c.key, c.value, got, want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestValuesThatWereThereAreLeftAlone(t *testing.T) {
	bad := map[string]string{"cloud-init.user-data": "#cloud-config\n\ta"}
	if err := Check(bad, map[string]string{"cloud-init.user-data": bad["cloud-init.user-data"], "user.meta-data": "a: 1"}); err != nil {
		t.Error(err)
	}
	if err := Check(bad, map[string]string{"cloud-init.user-data": "#cloud-config\n\tb"}); err == nil {
		t.Error("another one is taken")
	}
	if err := Check(bad, nil); err != nil {
		t.Error(err)
	}
}

// Finding the place costs no more for a large text.
func TestALargeTextIsLookedAtInBoundedTime(t *testing.T) {
	text := "#cloud-config\n" + strings.Repeat("a: [1, 2]\n", 100) + strings.Repeat("k", 100_000) + ": *x"
	err := checkYAML(text, true)
	if err == nil || !strings.Contains(err.Error(), "line 102") {
		t.Errorf("%v", err)
	}
}

func FuzzCheckYAML(f *testing.F) {
	for _, s := range []string{"a: b: c", "\t", "- [", "*x", "a: 'é", "%YAML 9", "a: !!binary x", "? ", "\xff", "a:\r\n\tb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		err := checkYAML(text, true)
		if err == nil {
			return
		}
		var line, column int
		if n, _ := fmt.Sscanf(err.Error(), "line %d, column %d: ", &line, &column); n != 2 || line < 1 || column < 1 || line > strings.Count(text, "\n")+strings.Count(text, "\r")+2 {
			t.Errorf("%q: %v", text, err)
		}
	})
}
