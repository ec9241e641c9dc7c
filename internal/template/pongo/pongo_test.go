package pongo

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/berthd/berth/internal/template"
)

var vars = template.Vars{
	Trigger:    "create",
	Path:       "/etc/hostname",
	Instance:   map[string]string{"name": "web"},
	Config:     map[string]string{"user.foo": "<b>", "user": "{{ path }}\xff\n"},
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
		out, err := Render(template.Job{Source: []byte(source), Vars: vars})
		if err != nil || string(out) != want {
			t.Errorf("%s: %q, %v; want %q", source, out, err, want)
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
		"a flood": "{% for a in \"" + strings.Repeat("x", 4000) + "\" %}{% for b in \"" + strings.Repeat("x", 4000) +
			"\" %}" + strings.Repeat("y", 100) + "{% endfor %}{% endfor %}",
	} {
		if out, err := Render(template.Job{Source: []byte(source), Vars: vars}); err == nil {
			t.Errorf("%s: rendered %d bytes", name, len(out))
		}
	}
}

func TestServe(t *testing.T) {
	request, err := json.Marshal([]template.Job{{Source: []byte("{{ path|upper }}"), Vars: vars}, {Source: []byte("{% if"), Vars: vars}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Serve(bytes.NewReader(request), &out); err != nil {
		t.Fatal(err)
	}
	var reply template.Reply
	if err := json.Unmarshal(out.Bytes(), &reply); err != nil || !strings.Contains(reply.Error, "/etc/hostname") {
		t.Errorf("%+v, %v", reply, err)
	}
	if err := Serve(strings.NewReader("{"), &out); err == nil {
		t.Error("half a request is served")
	}
}

// FuzzSimple holds the daemon's own rendering of simple templates to the library's.
func FuzzSimple(f *testing.F) {
	for _, seed := range []string{"{{ container.name }}\n", "127.0.0.1 {{instance.name}} {{ path }}", "{{ config.user }}", "{{ config.none }} x", "{{ properties.in }}", "a}}b", "{{ trigger\t}}", "\\{{ path }}", "{{ path }}\r\n\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		job := template.Job{Source: []byte(source), Vars: vars}
		got, ok := template.Simple(job)
		if !ok {
			return
		}
		if want, err := Render(job); err != nil || string(want) != string(got) {
			t.Errorf("%q gives %q, the library %q, %v", source, got, want, err)
		}
	})
}

func FuzzRender(f *testing.F) {
	f.Add("{{ container.name }}{% if 1 %}{% endif %}")
	f.Add("{{ config_get(\"a\", 1)|default:\"x\" }}")
	f.Fuzz(func(t *testing.T, source string) {
		out, _ := Render(template.Job{Source: []byte(source), Vars: vars})
		if len(out) > template.MaxOutput {
			t.Errorf("printed %d bytes", len(out))
		}
	})
}
