package api

import "time"

// WarningPut is the part of a warning that PUT and PATCH change.
type WarningPut struct {
	Status string `json:"status" yaml:"status"` // new, acknowledged or resolved
}

// Warning is what GET /1.0/warnings/<uuid> shows.
type Warning struct {
	WarningPut  `yaml:",inline"`
	UUID        string    `json:"uuid" yaml:"uuid"`
	Location    string    `json:"location" yaml:"location"`
	Project     string    `json:"project" yaml:"project"`
	Type        string    `json:"type" yaml:"type"`
	Count       int       `json:"count" yaml:"count"`
	FirstSeenAt time.Time `json:"first_seen_at" yaml:"first_seen_at"`
	LastSeenAt  time.Time `json:"last_seen_at" yaml:"last_seen_at"`
	LastMessage string    `json:"last_message" yaml:"last_message"`
	Severity    string    `json:"severity" yaml:"severity"` // low, moderate or high
	EntityURL   string    `json:"entity_url" yaml:"entity_url"`
}
