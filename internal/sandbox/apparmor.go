package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/berthd/berth/internal/apparmor"
)

// Cmd is a command in the sandbox. Start is the one way to start it; Run, Output and CombinedOutput of exec.Cmd refuse to.
type Cmd struct {
	*exec.Cmd
	id     string // of its AppArmor profile
	path   string // of the tool; empty: a verb of berth-sandbox's own, which gets no files
	writes bool
}

var errOnlyStart = errors.New("sandbox: only Start starts a command that is to be confined")

func newCmd(cmd *exec.Cmd, id, path string, writes bool) (*Cmd, error) {
	if cmd.Err != nil { // berth-sandbox is not there
		return nil, cmd.Err
	}
	cmd.Err = errOnlyStart
	return &Cmd{Cmd: cmd, id: id, path: path, writes: writes}, nil
}

// Start starts the command, under the AppArmor profile of its program if UseAppArmor was called. If that profile cannot be loaded,
// nothing is started.
func (c *Cmd) Start() error {
	label, err := profiles.label(c)
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	c.Err = nil
	if err := apparmor.Start(c.Cmd, label); err != nil {
		profiles.ended(c.id)
		profiles.forget(c.id) // somebody may have unloaded it: the next one loads it again
		return err
	}
	return nil
}

// Wait waits as exec.Cmd does. It must be called once after each Start that succeeded.
func (c *Cmd) Wait() error {
	defer profiles.ended(c.id)
	return c.Cmd.Wait()
}

// profiles are those of this process's sandbox.
var profiles confinement

// confinement loads each profile once.
type confinement struct {
	mu     sync.Mutex
	host   *apparmor.Host
	files  []string
	labels map[string]string
	runs   map[string]int // how many commands are under a profile
}

// UseAppArmor has what is started from now on confined by profiles of a host, too: one for each tool, which may then reach the files that
// are handed to it only in the folders named, absolute and with a slash at the end. A daemon calls it once, at its start.
func UseAppArmor(h *apparmor.Host, folders ...string) {
	profiles.mu.Lock()
	defer profiles.mu.Unlock()
	profiles.host, profiles.files, profiles.labels = h, nil, map[string]string{}
	profiles.runs = map[string]int{}
	for _, folder := range folders {
		profiles.files = append(profiles.files, resolved(folder)+"/")
	}
}

// Unload takes the profiles out of the kernel again, except those that still confine a process.
func Unload() error {
	profiles.mu.Lock()
	defer profiles.mu.Unlock()
	var errs []error
	for id := range profiles.labels {
		if profiles.runs[id] == 0 {
			errs = append(errs, profiles.host.Unload(apparmor.Unpack, id))
			delete(profiles.labels, id)
		}
	}
	return errors.Join(errs...)
}

// label loads the profile of a command, unless it is, and returns what to confine it as. Until ended is called it stays loaded.
func (p *confinement) label(c *Cmd) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if state, _ := p.host.State(); state != apparmor.On {
		return "", nil
	}
	label, ok := p.labels[c.id]
	if !ok {
		var err error
		// Not ended with the one command: others wait for the same profile.
		if label, err = p.host.Load(context.Background(), c.program(p.files).Profile()); err != nil {
			return "", err
		}
		p.labels[c.id] = label
	}
	p.runs[c.id]++
	return label, nil
}

// ended is told of each command that no longer runs.
func (p *confinement) ended(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.runs[id] > 0 {
		p.runs[id]--
	}
}

func (p *confinement) forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.labels, id)
}

// program is what a command needs: to become nobody, its own code, and the files that it was handed, which AppArmor looks at again
// when a program inherits them.
func (c *Cmd) program(files []string) apparmor.Program {
	p := apparmor.Program{
		Kind: apparmor.Unpack, ID: c.id, Executables: []string{resolved(c.Path)},
		Capabilities: []string{"setuid", "setgid", "sys_resource"},
	}
	if c.path == "" {
		return p
	}
	p.Executables, p.Read = append(p.Executables, resolved(c.path)), files
	if c.writes {
		p.Write = files
	}
	return p
}

// resolved is the name that the kernel knows a file by.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return path
}
