package instance

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/store"
)

// snapshotWriter encodes the snapshots of an instance, one after another. What they hold in the same memory (see DecodeDelta and
// Intern) is encoded once.
type snapshotWriter struct {
	profiles Profiles
	project  string

	rest *snapshotRest // that parts and below are of
	// parts are the JSON of api.InstanceSnapshot before config, expanded_config and last_used_at, and behind name, without
	// created_at.
	parts [4][]byte
	below members // what the profiles give

	config        members // that own and expanded are of
	own, expanded []byte
}

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
	b = appendTime(append(b, `{"expires_at":`...), s.ExpiresAt)
	b = append(append(b, w.parts[0]...), w.own...)
	b = appendTime(append(b, `,"created_at":`...), s.CreatedAt)
	b = append(append(append(b, w.parts[1]...), w.expanded...), w.parts[2]...)
	b = appendTime(b, s.LastUsedAt)
	b = api.AppendString(append(b, `,"name":`...), row.Path[2])
	return append(b, w.parts[3]...)
}

func (w *snapshotWriter) encodeRest(rest *snapshotRest) {
	body := &rest.body
	config, devices := expand(w.profiles, w.project, body)
	w.rest, w.below = rest, membersOf(config)
	w.parts = [...][]byte{
		part(`"config":`, struct {
			Architecture string `json:"architecture"`
		}{body.Architecture}),
		part("", struct {
			Devices   map[string]map[string]string `json:"devices"`
			Ephemeral bool                         `json:"ephemeral"`
		}{fromDevices(body.Devices), body.Ephemeral}),
		part(`"last_used_at":`, struct {
			ExpandedDevices map[string]map[string]string `json:"expanded_devices,omitempty"`
		}{fromDevices(devices)}),
		append(part("", struct {
			Profiles []string `json:"profiles"`
			Stateful bool     `json:"stateful"`
			Size     int64    `json:"size"`
		}{list(body.Profiles), body.Stateful, -1}), '}'),
	}
}

func (w *snapshotWriter) encodeConfig(config members) {
	w.config, w.own, w.expanded = config, config.append(w.own[:0]), w.expanded[:0]
	if len(config)+len(w.below) > 0 {
		w.expanded = config.appendOver(append(w.expanded, `,"expanded_config":`...), w.below)
	}
}

// part encodes fields that others come before, and then the key of the field after them if there is one.
func part(next string, fields any) []byte {
	data, err := json.Marshal(fields)
	if err != nil {
		panic(fmt.Sprintf("instance: encode a snapshot: %v", err)) // strings and numbers of our own
	}
	data = data[:len(data)-1]
	if len(data) > 1 {
		data[0] = ','
	} else {
		data = data[:0]
	}
	if next != "" {
		data = append(append(data, ','), next...)
	}
	return data
}

func appendTime(b []byte, t time.Time) []byte {
	b, err := t.AppendText(append(b, '"'))
	if err != nil {
		panic(fmt.Sprintf("instance: encode a time: %v", err)) // it was decoded, or is of our own
	}
	return append(b, '"')
}
