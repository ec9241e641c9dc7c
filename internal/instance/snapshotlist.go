package instance

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/store"
)

// snapshotWriter encodes the snapshots of an instance, one after another. As a rule they hold their configuration in the
// same memory (see Follow and Settle), and then it is encoded once.
type snapshotWriter struct {
	show func(store.Row[Snapshot]) api.InstanceSnapshot
	last *Body
	// parts are the JSON of api.InstanceSnapshot for last, around what each snapshot has of its own: expires_at, created_at,
	// last_used_at and name.
	parts [5][]byte
}

// append appends api.InstanceSnapshot as JSON.
func (w *snapshotWriter) append(b []byte, row store.Row[Snapshot]) []byte {
	s := row.Value
	if w.last == nil || !sameMemory(w.last, &s.Body) {
		one := w.show(row)
		w.last, w.parts = &s.Body, snapshotParts(&one)
	}
	for n, at := range [...]time.Time{s.ExpiresAt, s.CreatedAt, s.LastUsedAt} {
		b = appendTime(append(b, w.parts[n]...), at)
	}
	b = api.AppendString(append(b, w.parts[3]...), row.Path[2])
	return append(b, w.parts[4]...)
}

// snapshotParts encodes what is around the fields of a snapshot's own.
func snapshotParts(s *api.InstanceSnapshot) [5][]byte {
	return [...][]byte{
		[]byte(`{"expires_at":`),
		part(`"created_at":`, struct {
			Architecture string            `json:"architecture"`
			Config       map[string]string `json:"config"`
		}{s.Architecture, s.Config}),
		part(`"last_used_at":`, struct {
			Devices         map[string]map[string]string `json:"devices"`
			Ephemeral       bool                         `json:"ephemeral"`
			ExpandedConfig  map[string]string            `json:"expanded_config,omitempty"`
			ExpandedDevices map[string]map[string]string `json:"expanded_devices,omitempty"`
		}{s.Devices, s.Ephemeral, s.ExpandedConfig, s.ExpandedDevices}),
		[]byte(`,"name":`),
		part("", struct {
			Profiles []string `json:"profiles"`
			Stateful bool     `json:"stateful"`
			Size     int64    `json:"size"`
		}{s.Profiles, s.Stateful, s.Size}),
	}
}

// part encodes fields that others come before, and then the key of the field after them, or the end if there is none.
func part(next string, fields any) []byte {
	data, err := json.Marshal(fields)
	if err != nil {
		panic(fmt.Sprintf("instance: encode a snapshot: %v", err)) // strings and numbers of our own
	}
	data[0] = ','
	if next == "" {
		return data
	}
	data[len(data)-1] = ','
	return append(data, next...)
}

func appendTime(b []byte, t time.Time) []byte {
	b, err := t.AppendText(append(b, '"'))
	if err != nil {
		panic(fmt.Sprintf("instance: encode a time: %v", err)) // it was decoded, or is of our own
	}
	return append(b, '"')
}

// sameMemory tells whether two bodies are shown alike but for their times, because they hold the rest in the same memory.
func sameMemory(a, b *Body) bool {
	return a.Architecture == b.Architecture && a.Ephemeral == b.Ephemeral && a.Stateful == b.Stateful &&
		reflect.ValueOf(a.Config).Pointer() == reflect.ValueOf(b.Config).Pointer() &&
		reflect.ValueOf(a.Devices).Pointer() == reflect.ValueOf(b.Devices).Pointer() &&
		len(a.Profiles) == len(b.Profiles) && (len(a.Profiles) == 0 || &a.Profiles[0] == &b.Profiles[0])
}
