// Package exec runs commands in instances and connects to their consoles, for clients that hold websockets.
package exec

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/runtime"
)

// Target is an instance as a session needs it.
type Target struct {
	ID          string // as the runtime knows it
	UUID        string // of the instance, whatever its name
	Name        string
	Project     string
	VM          bool
	Status      api.StatusCode
	Environment map[string]string // environment.* of the effective configuration, without the prefix
	Logs        string            // folder that recorded output goes to
}

// Instances finds instances; *instance.Service implements it.
type Instances interface {
	// Target returns api.NotFound("Instance not found") where there is none.
	Target(ctx context.Context, project, name string) (Target, error)
}

// Runtime is what sessions need of the runtime of instances.
type Runtime interface {
	Exec(ctx context.Context, id string, r runtime.ExecRequest) (runtime.Command, error)
	// Terminal makes a pseudo-terminal of the instance's own: the controlling end and the one for a command.
	Terminal(ctx context.Context, id string) (controller, terminal *os.File, err error)
	Console(ctx context.Context, id string) (io.ReadWriteCloser, error)
	// Has tells whether a path, without its leading slash, exists inside.
	Has(id, path string) bool
}

// Prewarmer is a Runtime that has something to do before a command is put into an instance, and can do so while its
// client connects.
type Prewarmer interface {
	Prewarm()
}

// forever is the bound of a session in time: it lasts as long as its command and its client do.
const forever = 100 * 365 * 24 * time.Hour

// Service makes the operations of exec and console.
type Service struct {
	Instances Instances
	Runtime   Runtime
	Events    event.Publisher
}

// Exec prepares a command. The errors that come at once are LXD's.
func (s *Service) Exec(ctx context.Context, project, name string, post api.InstanceExecPost) (*operation.Task, error) {
	t, err := s.running(ctx, project, name)
	if err != nil {
		return nil, err
	}
	if r, ok := s.Runtime.(Prewarmer); ok {
		r.Prewarm()
	}
	request := runtime.ExecRequest{
		Command: post.Command, User: post.User, Group: post.Group, Cwd: post.Cwd,
		Environment: s.environment(t, post),
	}
	if request.Cwd == "" {
		request.Cwd = request.Environment["HOME"]
	}
	if request.Cwd == "" {
		request.Cwd = "/"
	}
	task := &operation.Task{
		Description: "Executing command", Resources: resources(t), Bound: forever,
	}
	began := func(ctx context.Context) {
		s.Events.Lifecycle(ctx, project, "instance-exec", source(t), map[string]any{"command": post.Command})
	}
	if !post.WaitForWS {
		task.Run = func(ctx context.Context, p operation.Progress) error {
			return s.alone(ctx, t, request, post.RecordOutput, began, p)
		}
		return task, nil
	}
	session, err := newSession(post.Interactive)
	if err != nil {
		return nil, err
	}
	task.Class = operation.ClassWebsocket
	task.Metadata = map[string]any{
		"command": post.Command, "environment": request.Environment, "interactive": post.Interactive, "fds": session.secrets(),
	}
	task.Connect = session.connect
	task.Run = func(ctx context.Context, p operation.Progress) error {
		defer session.close()
		status, err := session.run(ctx, s.same(t), t.ID, request, size{post.Width, post.Height}, began)
		if err == nil || notRun(err) {
			p.Update(map[string]any{"return": status})
		}
		return refusal(err)
	}
	return task, nil
}

// notRun tells that there was nothing to run: the operation fails, and has an exit status all the same.
func notRun(err error) bool {
	return errors.Is(err, runtime.ErrCommandNotFound) || errors.Is(err, runtime.ErrCommandNotExecutable)
}

// refusal is the caller's mistake where there was nothing to run. It is no "not found": that would be the instance.
func refusal(err error) error {
	if notRun(err) {
		return api.BadRequest("%w", err)
	}
	return err
}

// running finds an instance and makes sure that it can be talked to.
func (s *Service) running(ctx context.Context, project, name string) (Target, error) {
	t, err := s.Instances.Target(ctx, project, name)
	switch {
	case err != nil:
		return t, err
	case t.Status == api.Frozen:
		return t, api.BadRequest("Instance is frozen")
	case t.Status != api.Running:
		return t, api.BadRequest("Instance is not running")
	}
	return t, nil
}

// environment is the instance's own, then what the client gives, then LXD's defaults (instance-exec.md).
func (s *Service) environment(t Target, post api.InstanceExecPost) map[string]string {
	env := map[string]string{}
	maps.Copy(env, t.Environment)
	maps.Copy(env, post.Environment)
	set := func(name, value string) {
		if _, ok := env[name]; !ok {
			env[name] = value
		}
	}
	if _, ok := env["PATH"]; !ok {
		env["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
		if s.Runtime.Has(t.ID, "snap") {
			env["PATH"] += ":/snap/bin"
		}
		if s.Runtime.Has(t.ID, "etc/NIXOS") {
			env["PATH"] += ":/run/current-system/sw/bin"
		}
	}
	if post.User == 0 {
		set("HOME", "/root")
		set("USER", "root")
	}
	set("LANG", "C.UTF-8")
	return env
}

// alone runs a command without websockets; what it says is recorded, or dropped.
func (s *Service) alone(ctx context.Context, t Target, r runtime.ExecRequest, record bool, began func(context.Context), p operation.Progress) (err error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = null.Close() }()
	r.Stdin, r.Stdout, r.Stderr = null, null, null
	var output map[string]string
	if record {
		rec, err := newRecord(t, operation.ID(ctx))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rec.close()) }()
		r.Stdout, r.Stderr, output = rec.stdout, rec.stderr, rec.urls
	}
	c, err := s.same(t).Exec(ctx, t.ID, r)
	if err != nil {
		return err
	}
	began(ctx)
	stop := context.AfterFunc(ctx, func() { _ = c.Signal(sigkill) })
	status, err := wait(ctx, c)
	if !stop() && ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && !notRun(err) {
		return err
	}
	result := map[string]any{"return": status}
	if output != nil {
		result["output"] = output
	}
	p.Update(result)
	return refusal(err)
}

// record is the pair of files that the output of one command goes to.
type record struct {
	stdout, stderr *os.File
	urls           map[string]string
}

func newRecord(t Target, operation string) (*record, error) {
	if operation == "" {
		operation = uuid.NewString()
	}
	base := "exec_" + operation
	r := &record{urls: map[string]string{}}
	query := ""
	if t.Project != api.ProjectDefault {
		query = "?" + url.Values{"project": {t.Project}}.Encode()
	}
	for fd, f := range map[string]**os.File{"1": &r.stdout, "2": &r.stderr} {
		file := base + map[string]string{"1": ".stdout", "2": ".stderr"}[fd]
		var err error
		if *f, err = os.OpenFile(filepath.Join(t.Logs, file), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
			return nil, errors.Join(err, r.close())
		}
		r.urls[fd] = source(t) + "/logs/" + file + query
	}
	return r, nil
}

func (r *record) close() error {
	var errs []error
	for _, f := range []*os.File{r.stdout, r.stderr} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// Console prepares a connection to the console.
func (s *Service) Console(ctx context.Context, project, name string, post api.InstanceConsolePost) (*operation.Task, error) {
	if post.Type != "" && post.Type != "console" && post.Type != "vga" {
		return nil, api.BadRequest("Unknown console type %q", post.Type)
	}
	t, err := s.running(ctx, project, name)
	if err != nil {
		return nil, err
	}
	if post.Type == "vga" && !t.VM {
		return nil, api.BadRequest("VGA console is only supported by virtual machines")
	}
	session, err := newSession(true)
	if err != nil {
		return nil, err
	}
	return &operation.Task{
		Class: operation.ClassWebsocket, Description: "Showing console", Resources: resources(t), Bound: forever,
		Metadata: map[string]any{"fds": session.secrets()}, Connect: session.connect,
		Run: func(ctx context.Context, _ operation.Progress) error {
			defer session.close()
			return session.console(ctx, s.same(t), t.ID, size{post.Width, post.Height}, func(ctx context.Context) {
				s.Events.Lifecycle(ctx, project, "instance-console", source(t), map[string]any{"type": "console"})
			})
		},
	}, nil
}

// OpenConsoleLog opens what the console has shown; the caller closes it. nil: nothing yet.
func (s *Service) OpenConsoleLog(ctx context.Context, project, name string) (*os.File, error) {
	t, err := s.Instances.Target(ctx, project, name)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(t.Logs, "console.log"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		s.Events.Lifecycle(ctx, project, "instance-console-retrieved", source(t), nil)
	}
	return f, err
}

// ClearConsoleLog forgets what the console has shown.
func (s *Service) ClearConsoleLog(ctx context.Context, project, name string) error {
	t, err := s.Instances.Target(ctx, project, name)
	if err != nil {
		return err
	}
	// Truncated in place: the monitor has it open.
	if err := os.Truncate(filepath.Join(t.Logs, "console.log"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	s.Events.Lifecycle(ctx, project, "instance-console-reset", source(t), nil)
	return nil
}

// source is the instance as events name it.
func source(t Target) string { return project.URL(t.Project, "instances", t.Name) }

// resources are the instance as operations name it: their own project says in which it is.
func resources(t Target) map[string][]string {
	r := map[string][]string{"instances": {project.URL("", "instances", t.Name)}}
	if !t.VM {
		r["containers"] = []string{project.URL("", "containers", t.Name)}
	}
	return r
}
