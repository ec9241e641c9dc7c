// Package event carries what happens to whoever listens: log lines, operations and the life cycle of objects.
package event

import (
	"context"

	"github.com/berthd/berth/api"
)

// Publisher is what services need of the hub.
type Publisher interface {
	// Lifecycle says that something happened to an object: action is "instance-created" and the like, source the
	// object's URL without a query. Who asked for it is taken from ctx (package request).
	Lifecycle(ctx context.Context, project, action, source string, details map[string]any)
}

// Nobody is a publisher without listeners, for tests.
type Nobody struct{}

// Lifecycle implements Publisher.
func (Nobody) Lifecycle(context.Context, string, string, string, map[string]any) {}

var _ = api.Event{}
