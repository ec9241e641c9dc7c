package template

import (
	"bytes"
	"strings"
	"testing"
)

var vars = Vars{
	Trigger:    "create",
	Path:       "/etc/hostname",
	Instance:   map[string]string{"name": "web"},
	Config:     map[string]string{"user.foo": "<b>"},
	Properties: map[string]string{"default": "x"},
}

func TestRender(t *testing.T) {
	for source, want := range map[string]string{
		"{{ container.name }}":                         "web",
		"{{ instance.name }} {{ trigger }} {{ path }}": "web create /etc/hostname",
		"{{ config_get(\"user.foo\", \"bar\") }}":      "<b>",
		"{{ config_get(\"user.none\", \"bar\") }}":     "bar",
		"{{ properties.default }}":                     "x",
		"{% if trigger == \"create\" %}yes{% endif %}": "yes",
	} {
		var out bytes.Buffer
		if err := Render(&out, []byte(source), vars); err != nil || out.String() != want {
			t.Errorf("%s: %q, %v; want %q", source, out.String(), err, want)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	for name, source := range map[string]string{
		"a file by ssi":     "{% ssi \"/etc/passwd\" %}",
		"a file by include": "{% include \"/etc/passwd\" %}",
		"a file by import":  "{% import \"/etc/passwd\" x %}",
		"a file by extends": "{% extends \"/etc/passwd\" %}",
		"an open tag":       "{% if",
		"too long":          strings.Repeat("x", MaxSource+1),
		"a flood": "{% for a in \"" + strings.Repeat("x", 4000) + "\" %}{% for b in \"" + strings.Repeat("x", 4000) +
			"\" %}" + strings.Repeat("y", 100) + "{% endfor %}{% endfor %}",
	} {
		var out bytes.Buffer
		if err := Render(&out, []byte(source), vars); err == nil {
			t.Errorf("%s: rendered %d bytes", name, out.Len())
		} else if strings.Contains(out.String(), "root:") {
			t.Errorf("%s: read a file", name)
		}
	}
}

func FuzzRender(f *testing.F) {
	f.Add("{{ container.name }}{% if 1 %}{% endif %}")
	f.Add("{{ config_get(\"a\", 1)|default:\"x\" }}")
	f.Fuzz(func(t *testing.T, source string) {
		var out bytes.Buffer
		_ = Render(&out, []byte(source), vars)
		if out.Len() > MaxOutput {
			t.Errorf("printed %d bytes", out.Len())
		}
	})
}
