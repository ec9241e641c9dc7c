package instance

import (
	"fmt"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/rawjson"
	"github.com/berthd/berth/internal/store"
)

// snapshotWriter encodes the snapshots of an instance, one after another. What they hold in the same memory (see DecodeDelta and
// Intern) is encoded once.
type snapshotWriter struct {
	profiles Profiles
	project  string

	rest    *snapshotRest // that encoded and below are of
	encoded *rawjson.Encoded[*snapshotWriter]
	below   members // what the profiles give

	config        members // that own and expanded are of
	own, expanded []byte  // expanded is empty if there is no configuration at all

	row store.Row[Snapshot] // that is written
}

// snapshotForm is api.InstanceSnapshot.
var snapshotForm = rawjson.NewForm[api.InstanceSnapshot](map[string]func([]byte, *snapshotWriter) []byte{
	"expires_at":      func(b []byte, w *snapshotWriter) []byte { return rawjson.AppendTime(b, w.row.Value.ExpiresAt) },
	"config":          func(b []byte, w *snapshotWriter) []byte { return append(b, w.own...) },
	"created_at":      func(b []byte, w *snapshotWriter) []byte { return rawjson.AppendTime(b, w.row.Value.CreatedAt) },
	"expanded_config": func(b []byte, w *snapshotWriter) []byte { return append(b, w.expanded...) },
	"last_used_at":    func(b []byte, w *snapshotWriter) []byte { return rawjson.AppendTime(b, w.row.Value.LastUsedAt) },
	"name":            func(b []byte, w *snapshotWriter) []byte { return rawjson.AppendString(b, w.row.Path[2]) },
})

// append appends api.InstanceSnapshot as JSON.
func (w *snapshotWriter) append(b []byte, row store.Row[Snapshot]) []byte {
	s := row.Value
	other := w.rest != s.rest
	if other {
		w.encodeRest(s.rest)
	}
	if other || !w.config.same(s.config) {
		w.encodeConfig(s.config)
	}
	w.row = row
	return w.encoded.Append(b, w)
}

func (w *snapshotWriter) encodeRest(rest *snapshotRest) {
	config, devices := expand(w.profiles, w.project, &rest.body)
	shown := showRest(&rest.body, devices)
	encoded, err := snapshotForm.Encode(&shown)
	if err != nil {
		panic(fmt.Sprintf("instance: encode a snapshot: %v", err)) // strings and numbers of our own
	}
	w.rest, w.encoded, w.below = rest, encoded, membersOf(config)
}

func (w *snapshotWriter) encodeConfig(config members) {
	w.config, w.own, w.expanded = config, config.append(w.own[:0]), w.expanded[:0]
	if len(config)+len(w.below) > 0 {
		w.expanded = config.appendOver(w.expanded, w.below)
	}
}
