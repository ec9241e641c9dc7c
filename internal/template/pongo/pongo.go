// Package pongo renders templates with Pongo2. It runs in a process of its own (see package sandbox): what it renders can use up memory and
// time in ways that nothing inside a process can bound.
package pongo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/flosch/pongo2/v6"

	"github.com/berthd/berth/internal/template"
)

const (
	maxRequest = 64 << 20
	maxStack   = 64 << 20 // bytes; a macro can call itself
)

// Serve reads jobs from in, renders them and writes the reply to out.
func Serve(in io.Reader, out io.Writer) error {
	debug.SetMaxStack(maxStack)
	var jobs []template.Job
	if err := json.NewDecoder(io.LimitReader(in, maxRequest)).Decode(&jobs); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	var reply template.Reply
	outputs := 0
	for _, job := range jobs {
		printed, err := Render(job)
		if outputs += len(printed); err == nil && outputs > template.MaxOutputs {
			err = template.ErrOutputs
		}
		if err != nil {
			reply = template.Reply{Error: err.Error()}
			break
		}
		reply.Printed = append(reply.Printed, printed)
	}
	return json.NewEncoder(out).Encode(reply)
}

// errNoFiles is what a template gets that asks for a file.
var errNoFiles = errors.New("templates cannot read files")

// noFiles is a loader that knows no file.
type noFiles struct{}

func (noFiles) Abs(_, name string) string     { return name }
func (noFiles) Get(string) (io.Reader, error) { return nil, errNoFiles }

// set is what all templates are compiled in: no tag in it reads a file.
var set = sync.OnceValues(func() (*pongo2.TemplateSet, error) {
	s := pongo2.NewSet("berth", noFiles{})
	for _, tag := range []string{"extends", "import", "include", "ssi"} {
		if err := s.BanTag(tag); err != nil {
			return nil, err
		}
	}
	return s, nil
})

// Render gives what one template prints. Errors are the template's author's: they name the line.
func Render(job template.Job) ([]byte, error) {
	printed, err := execute(job)
	if err != nil && job.Created == nil {
		err = fmt.Errorf("template for %s: %w", job.Vars.Path, err)
	}
	return printed, err
}

func execute(job template.Job) (printed []byte, err error) {
	// The library panics on some malformed input.
	defer func() {
		if r := recover(); r != nil {
			printed, err = nil, fmt.Errorf("%v", r)
		}
	}()
	compiler, err := set()
	if err != nil {
		return nil, err
	}
	// What a template prints goes into a configuration file as it is, not into HTML.
	t, err := compiler.FromString("{% autoescape off %}" + string(job.Source) + "{% endautoescape %}")
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	if err := t.ExecuteWriterUnbuffered(variables(job), &limitedWriter{w: &b, left: job.MaxPrinted(), max: job.MaxPrinted()}); err != nil {
		return nil, err
	}
	return []byte(b.String()), nil
}

func variables(job template.Job) pongo2.Context {
	if job.Created != nil {
		created := time.Unix(0, *job.Created)
		if job.UTC {
			created = created.UTC()
		}
		return pongo2.Context{"creation_date": created}
	}
	v := job.Vars
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

// limitedWriter ends the template once it has printed too much.
type limitedWriter struct {
	w         io.Writer
	left, max int
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	if len(p) > l.left {
		// The library goes on after an error of its writer; execute recovers from this.
		panic(fmt.Sprintf("it prints more than %d bytes", l.max))
	}
	l.left -= len(p)
	return l.w.Write(p)
}
