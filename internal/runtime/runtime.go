// Package runtime holds the types that instances and the drivers that run them both speak.
package runtime

import (
	"errors"
	"os"
	"time"
)

// Process is a running instance as the runtime knows it.
type Process struct {
	ID        string
	InitPID   int // on the host
	StartedAt time.Time
	// UUID is the identity that it bears: of the instance that it was started for. Empty: none, as what older daemons have
	// started, and where the host lets control groups have none.
	UUID string
	// Restart tells that it has ended, to be started again at once: it restarted from inside while no daemon ran.
	Restart bool
	// Err is why something that runs under this ID could not be taken over, where it could not; nothing else is known of it.
	Err error
}

// Owner tells who an ID belongs to now: the UUID of that instance, which may be empty, and whether there is one.
type Owner func(id string) (uuid string, ok bool)

// Others tells that a process was certainly not started for the instance of that UUID.
func (p Process) Others(uuid string) bool { return p.UUID != "" && p.UUID != uuid }

// ExecRequest is a command to run in an instance.
type ExecRequest struct {
	Command     []string
	Environment map[string]string
	User, Group uint32
	Cwd         string
	// Stdin, Stdout and Stderr become the command's own; with a pty all three are its one end. They stay the
	// caller's to close, and may be closed as soon as Exec has returned.
	Stdin, Stdout, Stderr *os.File
	Terminal              bool // the files are a terminal, to be made the controlling one
}

// Command is a process started by Exec.
type Command interface {
	PID() int // on the host
	Signal(sig int) error
	// Wait returns the exit status as a shell gives it: 0-255, 128+signal; and 126 with ErrCommandNotExecutable or 127 with
	// ErrCommandNotFound where there was nothing to run. A command's own 126 or 127 comes without an error.
	Wait() (int, error)
}

// Why a command could not be run. The texts are LXD's.
var (
	ErrCommandNotFound      = errors.New("Command not found")      // LXD's text
	ErrCommandNotExecutable = errors.New("Command not executable") // LXD's text
)
