// Package template renders the templates that images carry (Pongo2 syntax, as LXD's image format documents it). A template
// comes from outside: it is limited in size and in what it may print, and it can read no file.
package template

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/flosch/pongo2/v6"
)

// Limits of one template, in bytes.
const (
	MaxSource = 1 << 20
	MaxOutput = 8 << 20
)

// Vars is what a template can see.
type Vars struct {
	Trigger    string // create, copy, start or rename
	Path       string // of the file inside the instance
	Instance   map[string]string
	Config     map[string]string
	Devices    map[string]map[string]string
	Properties map[string]string
}

// errNoFiles is what a template gets that asks for a file.
var errNoFiles = errors.New("templates cannot read files")

// noFiles is a loader that knows no file.
type noFiles struct{}

func (noFiles) Abs(_, name string) string     { return name }
func (noFiles) Get(string) (io.Reader, error) { return nil, errNoFiles }

// set is the sandbox all templates are compiled in: no tag in it reads a file.
var set = sync.OnceValues(func() (*pongo2.TemplateSet, error) {
	s := pongo2.NewSet("berth", noFiles{})
	for _, tag := range []string{"extends", "import", "include", "ssi"} {
		if err := s.BanTag(tag); err != nil {
			return nil, err
		}
	}
	return s, nil
})

// Render writes the template, filled in, to w. Errors are the template's author's: they name the line.
func Render(w io.Writer, source []byte, v Vars) (err error) {
	if len(source) > MaxSource {
		return fmt.Errorf("template for %s is larger than %d bytes", v.Path, MaxSource)
	}
	// The library panics on some malformed input.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("template for %s: %v", v.Path, r)
		}
	}()
	sandbox, err := set()
	if err != nil {
		return err
	}
	// What a template prints goes into a configuration file as it is, not into HTML.
	t, err := sandbox.FromString("{% autoescape off %}" + string(source) + "{% endautoescape %}")
	if err != nil {
		return fmt.Errorf("template for %s: %w", v.Path, err)
	}
	limited := &limitedWriter{w: w, left: MaxOutput}
	if err := t.ExecuteWriterUnbuffered(v.context(), limited); err != nil {
		return fmt.Errorf("template for %s: %w", v.Path, err)
	}
	return nil
}

func (v Vars) context() pongo2.Context {
	return pongo2.Context{
		"trigger":    v.Trigger,
		"path":       v.Path,
		"container":  v.Instance,
		"instance":   v.Instance,
		"config":     v.Config,
		"devices":    v.Devices,
		"properties": v.Properties,
		"config_get": func(key, fallback *pongo2.Value) *pongo2.Value {
			if value, ok := v.Config[key.String()]; ok {
				return pongo2.AsValue(value)
			}
			return fallback
		},
	}
}

// limitedWriter ends the template once a template has printed too much.
type limitedWriter struct {
	w    io.Writer
	left int
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	if len(p) > l.left {
		// The library goes on after an error of its writer; Render recovers from this.
		panic(fmt.Sprintf("it prints more than %d bytes", MaxOutput))
	}
	l.left -= len(p)
	return l.w.Write(p)
}
