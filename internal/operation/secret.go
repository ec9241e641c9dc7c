package operation

import (
	"crypto/subtle"
	"maps"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/request"
)

// secretKeys are those of an operation's metadata that open something to whoever has read them: its websockets, or what it is a token for.
var secretKeys = []string{"secret", "control", "fs", "criu", "fds"}

// WithoutSecrets is an operation as it is shown to those whose it is not.
func WithoutSecrets(op api.Operation) api.Operation {
	op.Metadata = maps.Clone(op.Metadata)
	for _, key := range secretKeys {
		delete(op.Metadata, key)
	}
	return op
}

// Opens tells whether whoever has read the operation's secrets can connect to it, or use it: a websocket or a token of a project.
func (o *Operation) Opens() bool {
	return o.project != "" && (o.class() == ClassWebsocket || o.class() == ClassToken)
}

// Owned tells whether the caller is the one who asked for the operation.
func (o *Operation) Owned(c request.Caller) bool { return c.Username != "" && c.Identity() == o.owner }

// SnapshotFor is the operation as a caller may see it: its secrets are for whoever asked for it, and for those who may do everything.
func (o *Operation) SnapshotFor(c request.Caller) api.Operation {
	if c.Unbound() || o.Owned(c) {
		return o.Snapshot()
	}
	return WithoutSecrets(o.Snapshot())
}

// HasSecret tells whether secret is one that the operation's metadata gives to its owner: "secret", or one of
// "fds" of a websocket operation.
func (o *Operation) HasSecret(secret string) bool {
	if secret == "" {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return holds(o.metadata, secret)
}

func holds(metadata map[string]any, secret string) bool {
	for _, key := range secretKeys {
		switch v := metadata[key].(type) {
		case string:
			if subtle.ConstantTimeCompare([]byte(v), []byte(secret)) == 1 {
				return true
			}
		case map[string]string:
			for _, s := range v {
				if subtle.ConstantTimeCompare([]byte(s), []byte(secret)) == 1 {
					return true
				}
			}
		case map[string]any:
			for _, one := range v {
				s, ok := one.(string)
				if ok && subtle.ConstantTimeCompare([]byte(s), []byte(secret)) == 1 {
					return true
				}
			}
		}
	}
	return false
}
