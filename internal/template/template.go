// Package template renders the templates that images carry (Pongo2 syntax, as LXD's image format documents it) and the
// patterns of snapshots' names.
//
// A template comes from outside, and the language can double a string forty times or call itself without end. So the daemon renders only
// what is text and plain variables (see Simple) by itself; everything else goes to a process with limits, one for all
// templates of an instance. What that process does is in package pongo, which the daemon does not link.
package template

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/berthd/berth/internal/sandbox"
)

// Limits of one template, and of all that are rendered at once: several instances may be started side by side. Bytes.
const (
	MaxSource  = 1 << 20
	MaxSources = 8 << 20 // of all together
	MaxOutput  = 8 << 20
	MaxOutputs = 16 << 20 // of all together
	maxPattern = 4096     // of a pattern and of what it gives
	maxRequest = 32 << 20 // of the process: sources, and for each what it sees
	maxReply   = MaxOutputs/3*4 + 1<<20
	maxMemory  = 256 << 20
	maxCPU     = 5 * time.Second
	maxTime    = 20 * time.Second
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

// Job is one template to render.
type Job struct {
	Source []byte
	Vars   Vars
	// Created, if set, makes it a snapshot's pattern: it sees creation_date and nothing else. Nanoseconds since 1970; UTC says in which zone it is shown.
	Created *int64
	UTC     bool
}

// Reply is what the process answers: what was printed, in the order of the jobs, or what is wrong with one of them.
type Reply struct {
	Printed [][]byte
	Error   string
}

// MaxPrinted bounds what the job may print, in bytes.
func (j *Job) MaxPrinted() int {
	if j.Created != nil {
		return maxPattern
	}
	return MaxOutput
}

// Errors for what is too much only together.
var (
	ErrSources = fmt.Errorf("templates are larger than %d bytes together", MaxSources)
	ErrOutputs = fmt.Errorf("templates print more than %d bytes together", MaxOutputs)
	errRequest = fmt.Errorf("templates and the configuration that each of them sees are larger than %d bytes together", maxRequest)
)

// Render gives what each template prints. An error is its author's: it names the template, or is one of the above.
func Render(ctx context.Context, jobs []Job) ([][]byte, error) {
	printed := make([][]byte, len(jobs))
	var hard []Job
	var places []int
	var sources, outputs int
	for i, job := range jobs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(job.Source) > MaxSource {
			return nil, fmt.Errorf("template for %s is larger than %d bytes", job.Vars.Path, MaxSource)
		}
		if sources += len(job.Source); sources > MaxSources {
			return nil, ErrSources
		}
		if out, ok := Simple(job); ok {
			if outputs += len(out); outputs > MaxOutputs {
				return nil, ErrOutputs
			}
			printed[i] = out
			continue
		}
		hard, places = append(hard, job), append(places, i)
	}
	if len(hard) == 0 {
		return printed, nil
	}
	rendered, err := confined(ctx, hard)
	if err != nil {
		return nil, err
	}
	for i, place := range places {
		if outputs += len(rendered[i]); outputs > MaxOutputs {
			return nil, ErrOutputs
		}
		printed[place] = rendered[i]
	}
	return printed, nil
}

// Name fills the pattern of a snapshot's name; it can use creation_date.
func Name(ctx context.Context, pattern string, created time.Time) (string, error) {
	if len(pattern) > maxPattern {
		return "", fmt.Errorf("pattern is longer than %d bytes", maxPattern)
	}
	nanoseconds := created.UnixNano()
	printed, err := Render(ctx, []Job{{Source: []byte(pattern), Created: &nanoseconds, UTC: created.Location() == time.UTC}})
	if err != nil {
		return "", fmt.Errorf("pattern %q: %w", pattern, err)
	}
	return string(printed[0]), nil
}

// encode makes the request: each job has with it all that it sees, however many they are.
func encode(ctx context.Context, jobs []Job) ([]byte, error) {
	var request bytes.Buffer
	mark := byte('[')
	for _, job := range jobs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		one, err := json.Marshal(job)
		if err != nil {
			return nil, err
		}
		if request.Len()+len(one) > maxRequest {
			return nil, errRequest
		}
		request.WriteByte(mark)
		request.Write(one)
		mark = ','
	}
	request.WriteByte(']')
	return request.Bytes(), nil
}

// confined renders in a process of its own.
func confined(ctx context.Context, jobs []Job) ([][]byte, error) {
	request, err := encode(ctx, jobs)
	if err != nil {
		return nil, fmt.Errorf("render templates: %w", err)
	}
	bounded, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	cmd, err := sandbox.Builtin(bounded, sandbox.Limits{Memory: maxMemory, CPU: maxCPU}, "template")
	if err != nil {
		return nil, err
	}
	said := &sandbox.Complaint{}
	cmd.Stdin, cmd.Stderr = bytes.NewReader(request), said
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("render templates: %w", err)
	}
	answer, readErr := io.ReadAll(io.LimitReader(out, maxReply+1))
	if readErr != nil || len(answer) > maxReply {
		_ = cmd.Cancel()
	}
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case len(answer) > maxReply:
		return nil, ErrOutputs
	case err != nil || readErr != nil:
		return nil, failure(bounded, errors.Join(err, readErr), said.String())
	}
	var reply Reply
	if err := json.Unmarshal(answer, &reply); err != nil {
		return nil, fmt.Errorf("render templates: %w", err)
	}
	if reply.Error != "" {
		return nil, errors.New(reply.Error)
	}
	if len(reply.Printed) != len(jobs) {
		return nil, errors.New("render templates: the answer does not fit the request")
	}
	return reply.Printed, nil
}

// crashed is the exit status with which Go's runtime ends a program. A panic of the library is caught, so that it is memory that was missing,
// or a stack that grew too deep; what the runtime says of that differs with where it hits the limit.
const crashed = 2

// failure says in which bound a process ended.
func failure(bounded context.Context, err error, said string) error {
	if bounded.Err() != nil {
		return fmt.Errorf("templates take longer than %s", maxTime)
	}
	line, _, _ := strings.Cut(said, "\n")
	var exit *exec.ExitError
	switch {
	case !errors.As(err, &exit):
		return fmt.Errorf("render templates: %w", err)
	case !exit.Exited(): // the kernel's answer to RLIMIT_CPU is a signal
		return fmt.Errorf("templates take more than %s of CPU time (%w)", maxCPU, err)
	case exit.ExitCode() == crashed:
		return fmt.Errorf("templates take more than %d MiB of memory (%s)", maxMemory>>20, line)
	}
	return fmt.Errorf("render templates: %w: %s", err, line)
}
