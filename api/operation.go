package api

import (
	"encoding/json"
	"time"
)

// Operation is a background operation as GET /1.0/operations/<id> shows it.
type Operation struct {
	ID          string              `json:"id" yaml:"id"`
	Class       string              `json:"class" yaml:"class"` // task, websocket or token
	Description string              `json:"description" yaml:"description"`
	CreatedAt   time.Time           `json:"created_at" yaml:"created_at"`
	UpdatedAt   time.Time           `json:"updated_at" yaml:"updated_at"`
	Status      string              `json:"status" yaml:"status"`
	StatusCode  StatusCode          `json:"status_code" yaml:"status_code"`
	Resources   map[string][]string `json:"resources" yaml:"resources"` // kind -> URLs
	Metadata    map[string]any      `json:"metadata" yaml:"metadata"`
	MayCancel   bool                `json:"may_cancel" yaml:"may_cancel"`
	Err         string              `json:"err" yaml:"err"`
	ErrCode     int                 `json:"err_code,omitempty" yaml:"err_code,omitempty"` // HTTP status of Err once it has failed; LXD has none
	Location    string              `json:"location" yaml:"location"`                     // cluster member, or "none"
}

// Event is one message of GET /1.0/events.
type Event struct {
	Type      string          `json:"type" yaml:"type"` // logging, operation or lifecycle
	Timestamp time.Time       `json:"timestamp" yaml:"timestamp"`
	Metadata  json.RawMessage `json:"metadata" yaml:"metadata"`
	Location  string          `json:"location,omitempty" yaml:"location,omitempty"`
	Project   string          `json:"project,omitempty" yaml:"project,omitempty"`
}

// EventLogging is the metadata of an event of type "logging".
type EventLogging struct {
	Message string            `json:"message" yaml:"message"`
	Level   string            `json:"level" yaml:"level"`
	Context map[string]string `json:"context" yaml:"context"`
}

// EventLifecycle is the metadata of an event of type "lifecycle".
type EventLifecycle struct {
	Action    string                   `json:"action" yaml:"action"` // e.g. instance-created
	Source    string                   `json:"source" yaml:"source"` // URL of the object
	Context   map[string]any           `json:"context,omitempty" yaml:"context,omitempty"`
	Requestor *EventLifecycleRequestor `json:"requestor,omitempty" yaml:"requestor,omitempty"`
}

// EventLifecycleRequestor says who asked for a change.
type EventLifecycleRequestor struct {
	Username string `json:"username" yaml:"username"`
	Protocol string `json:"protocol" yaml:"protocol"` // unix or tls
	Address  string `json:"address,omitempty" yaml:"address,omitempty"`
}
