package template_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/internal/sandbox"
	"github.com/berthd/berth/internal/sandbox/sandboxtest"
	"github.com/berthd/berth/internal/template"
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

func jobs(sources ...string) []template.Job {
	var all []template.Job
	for _, s := range sources {
		all = append(all, template.Job{Source: []byte(s), Vars: template.Vars{Path: "/etc/x", Instance: map[string]string{"name": "web"}}})
	}
	return all
}

func TestRenderKeepsTheOrder(t *testing.T) {
	out, err := template.Render(context.Background(), jobs("{{ path|upper }}", "{{ instance.name }}", "text", "{% if 1 %}yes{% endif %}"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"/ETC/X", "web", "text", "yes"} {
		if string(out[i]) != want {
			t.Errorf("template %d printed %q, want %q", i, out[i], want)
		}
	}
}

// A start of a common image costs no process.
func TestSimpleTemplatesTakeNoProcess(t *testing.T) {
	program := sandbox.Program
	defer func() { sandbox.Program = program }()
	sandbox.Program = func() string { return "/nonexistent" }
	if out, err := template.Render(context.Background(), jobs("{{ container.name }}\n", "127.0.1.1\t{{ instance.name }}\n")); err != nil || string(out[1]) != "127.0.1.1\tweb\n" {
		t.Error(out, err)
	}
	if _, err := template.Render(context.Background(), jobs("{{ path|upper }}")); err == nil {
		t.Error("a filter is run in the daemon")
	}
}

// A string that is doubled forty times ended the daemon.
func TestRenderIsBounded(t *testing.T) {
	for name, c := range map[string]struct{ source, want string }{
		"memory": {doubling(40), "memory"},
		"stack":  {"{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "memory"},
		"time":   {"{% for a in \"" + strings.Repeat("x", 9000) + "\" %}{% for b in \"" + strings.Repeat("x", 9000) + "\" %}{% for c in \"" + strings.Repeat("x", 9000) + "\" %}{% endfor %}{% endfor %}{% endfor %}", "templates take"},
		"output": {"{% for a in \"" + strings.Repeat("x", 4000) + "\" %}" + strings.Repeat("y", 4000) + "{% endfor %}", "prints more"},
		"files":  {"{% include \"/etc/passwd\" %}", "sandbox"},
		"syntax": {"{% if", "/etc/x"},
	} {
		start := time.Now()
		_, err := template.Render(context.Background(), jobs(c.source))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if len(err.Error()) > 1000 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("%s took %s", name, took)
		}
	}
}

// TestThePlainEndOfATemplateCounts: what follows the last variable is printed too.
func TestThePlainEndOfATemplateCounts(t *testing.T) {
	vars := template.Vars{Path: "/etc/x", Config: map[string]string{"big": strings.Repeat("x", 1<<20)}}
	full := strings.Repeat("{{ config.big }}", template.MaxOutput>>20)
	for source, fits := range map[string]bool{full: true, full + "y": false, "y" + full: false, full + strings.Repeat("y", 1<<19): false} {
		out, ok := template.Simple(template.Job{Source: []byte(source), Vars: vars})
		if ok != fits || ok && len(out) != template.MaxOutput {
			t.Errorf("a source of %d bytes prints %d, %t", len(source), len(out), ok)
		}
		if _, err := template.Render(t.Context(), []template.Job{{Source: []byte(source), Vars: vars}}); (err == nil) != fits || err != nil && !strings.Contains(err.Error(), "prints more") {
			t.Errorf("a source of %d bytes: %v", len(source), err)
		}
	}
}

func doubling(times int) string {
	return "{% set a = \"xxxxxxxxxxxxxxxx\" %}" + strings.Repeat("{% set a = a + a %}", times) + "{{ a }}"
}

func TestRenderEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, source := range []string{"{{ path|upper }}", "{{ path }}"} {
		if _, err := template.Render(ctx, jobs(source)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s is rendered without end: %v", source, err)
		}
	}
}

// An image of 11 KB had thousands of templates that print 8 MiB each, and the daemon took memory for all of them.
func TestAllTemplatesTogetherAreBounded(t *testing.T) {
	big := template.Vars{Path: "/etc/x", Config: map[string]string{"big": strings.Repeat("x", 1<<20)}}
	for name, c := range map[string]struct {
		times  int
		source string
		vars   template.Vars
		want   error
		inside bool // the process sees it, not the daemon
	}{
		"sources":         {9, strings.Repeat("y", template.MaxSource), template.Vars{}, template.ErrSources, false},
		"output":          {3, strings.Repeat("{{ config.big }}", 7), big, template.ErrOutputs, false},
		"what they see":   {32, "{{ path|upper }}", big, nil, false},
		"engine's output": {3, "{% for a in \"1234567\" %}{{ config.big }}{% endfor %}", big, template.ErrOutputs, true},
	} {
		t.Run(name, func(t *testing.T) {
			if !c.inside {
				program := sandbox.Program
				defer func() { sandbox.Program = program }()
				sandbox.Program = func() string { return "/nonexistent" }
			}
			all := make([]template.Job, c.times)
			for i := range all {
				all[i] = template.Job{Source: []byte(c.source), Vars: c.vars}
			}
			_, err := template.Render(context.Background(), all)
			if err == nil || !strings.Contains(err.Error(), "bytes together") || c.want != nil && err.Error() != c.want.Error() {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func TestName(t *testing.T) {
	at := time.Date(2026, 11, 30, 4, 5, 6, 0, time.UTC)
	for pattern, want := range map[string]string{
		"snap%d": "snap%d",
		"a#b%}x": "a#b%}x",
		"{{ creation_date|date:\"2006-01-02_15-04-05\" }}": "2026-11-30_04-05-06",
	} {
		if got, err := template.Name(context.Background(), pattern, at); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", pattern, got, err, want)
		}
	}
	if _, err := template.Name(context.Background(), doubling(40), at); err == nil {
		t.Error("a pattern doubles a string forty times")
	}
}
