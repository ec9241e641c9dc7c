// Package operation runs what takes longer than a request: each operation has an identity, a state that clients can
// follow and wait for, progress, a bound in time, and can be cancelled.
package operation

import (
	"context"
	"net/http"
	"time"
)

// Class is the kind of an operation as the API names it.
type Class string

// Classes of operations.
const (
	ClassTask      Class = "task"
	ClassWebsocket Class = "websocket"
	ClassToken     Class = "token"
)

// Task is work that is ready to run: what can be checked at once has been checked. A service returns one, and
// the server (or a test) runs it. A Task that is never run has no effect.
type Task struct {
	// ID and Created are those of an operation that goes on after a restart of the daemon, such as a token; empty: new ones.
	ID      string
	Created time.Time

	Class       Class // ClassTask when empty
	Description string
	Resources   map[string][]string // kind ("instances", "images", …) -> URLs such as /1.0/instances/c1
	Metadata    map[string]any      // shown from the start

	// About is the URL of what the work is about, as events name it; empty: the first of Resources. What it had to leave out is kept as a
	// warning about that.
	About string

	// MayCancel is what the API tells about cancelling while it runs. LXD says true of downloads alone, and clients offer
	// by it; a cancel that is asked for anyway is honoured for every task.
	MayCancel bool

	// Bound ends Run through its context; zero is the manager's default.
	Bound time.Duration

	// Run does the work. It must return soon after ctx ends and must then have undone what it began.
	Run func(ctx context.Context, p Progress) error

	// Revoke, if set, is asked before a cancel is answered, so that what it takes back stays so whatever happens next; its error refuses
	// the cancel. The server calls it too where the operation cannot even start.
	Revoke func(ctx context.Context) error

	// Discard, if set, removes what was received for Run. The server calls it where the operation cannot start.
	Discard func(ctx context.Context) error

	// Connect, on a websocket operation, serves one websocket: secret is the one the client named. It answers the
	// HTTP request itself (upgrade or error) and returns once the socket is handed over.
	Connect func(secret string, w http.ResponseWriter, r *http.Request) error
}

// Progress is how running work tells its followers where it is. Implementations may drop what comes too often.
type Progress interface {
	// Update merges keys into the operation's metadata; a nil value removes one. The command line shows
	// keys that end in "_progress", such as "create_instance_from_image_unpack_progress": "Unpack: 42% (11MB/s)".
	Update(metadata map[string]any)
}

// NoProgress is for callers without followers.
type NoProgress struct{}

// Update implements Progress.
func (NoProgress) Update(map[string]any) {}
