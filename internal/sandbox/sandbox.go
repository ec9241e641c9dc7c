// Package sandbox runs parsers of untrusted files (decompressors, squashfs, templates) in a process of its own that can do
// nothing but that: as nobody, with bounds on memory, CPU time and output, without network, without new privileges, and without
// the system calls that a parser has no use for; and, where the kernel has AppArmor, under a profile (UseAppArmor).
//
// The daemon starts the small program berth-sandbox, which confines itself before it reads a byte of what came from outside, and
// then becomes the tool (Tool) or renders templates (Builtin). A process that the kernel limits is the only bound that holds for
// every way of using memory: in the daemon's own process no limit on an allocation can be set.
package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/berthd/berth/internal/programs"
)

// Limits bound a process and all its threads. Zero fields mean the defaults.
type Limits struct {
	Memory int64         `json:"memory"` // bytes of private memory: heap and stacks
	CPU    time.Duration `json:"cpu"`    // of all threads together, whole seconds
	Output int64         `json:"output"` // bytes of a regular file that it may write; pipes do not count
}

// Default limits, for tools: xz -9 takes 65 MiB to read and 674 MiB to write with one thread.
const (
	DefaultMemory = 1280 << 20
	DefaultCPU    = time.Hour
)

func (l Limits) withDefaults() Limits {
	if l.Memory == 0 {
		l.Memory = DefaultMemory
	}
	if l.CPU == 0 {
		l.CPU = DefaultCPU
	}
	return l
}

// Program is the path of berth-sandbox. Tests set it to one that they have built.
var Program = sync.OnceValue(func() string { return programs.Find("berth-sandbox") })

// environment is the whole environment of a confined program.
var environment = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}

// Tool is a command that runs the program at path, as exec.CommandContext would, within the limits. It inherits no environment; descriptors
// in ExtraFiles are passed on. The path must be absolute.
func Tool(ctx context.Context, l Limits, path string, args ...string) (*Cmd, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("sandbox: %q is not an absolute path", path)
	}
	cmd, err := command(ctx, l, append([]string{"run", path}, args...)...)
	if err != nil {
		return nil, err
	}
	id, writes := filepath.Base(path), l.Output > 0
	if writes {
		id += "-writes"
	}
	return newCmd(cmd, id, path, writes)
}

// Builtin is a command that runs one of berth-sandbox's own verbs within the limits: "template".
func Builtin(ctx context.Context, l Limits, verb string) (*Cmd, error) {
	cmd, err := command(ctx, l, verb)
	if err != nil {
		return nil, err
	}
	return newCmd(cmd, "berth-"+verb, "", false)
}

func command(ctx context.Context, l Limits, args ...string) (*exec.Cmd, error) {
	limits, err := json.Marshal(l.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	cmd := exec.CommandContext(ctx, Program(), append([]string{string(limits)}, args...)...)
	cmd.Env = environment
	// Out of reach of the terminal.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, nil
}

// Complaint keeps the beginning of what a program says on its standard error; the zero value is ready.
type Complaint struct{ said []byte }

const maxComplaint = 4096

// Write implements io.Writer.
func (c *Complaint) Write(p []byte) (int, error) {
	c.said = append(c.said, p[:min(len(p), maxComplaint-len(c.said))]...)
	return len(p), nil
}

// String is what was said, without the space around it.
func (c *Complaint) String() string { return trim(string(c.said)) }

var _ io.Writer = (*Complaint)(nil)
