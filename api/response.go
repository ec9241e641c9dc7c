package api

import "encoding/json"

// ResponseType is the kind of envelope that every answer of the API comes in.
type ResponseType string

// The three kinds of envelope.
const (
	SyncResponse  ResponseType = "sync"
	AsyncResponse ResponseType = "async"
	ErrorResponse ResponseType = "error"
)

// Response is the envelope of every answer, as clients read it.
type Response struct {
	Type ResponseType `json:"type"`

	Status     string `json:"status"`
	StatusCode int    `json:"status_code"`

	// Operation is the URL of the background operation (async only).
	Operation string `json:"operation"`

	ErrorCode int    `json:"error_code"`
	Error     string `json:"error"`

	Metadata json.RawMessage `json:"metadata"`
}

// StatusCode is the API's own code for the state of an operation or an instance.
type StatusCode int

// Status codes as the REST API documents them: 100-199 states, 200 and 400-401 results.
const (
	OperationCreated StatusCode = 100
	Started          StatusCode = 101
	Stopped          StatusCode = 102
	Running          StatusCode = 103
	Cancelling       StatusCode = 104
	Pending          StatusCode = 105
	Starting         StatusCode = 106
	Stopping         StatusCode = 107
	Aborting         StatusCode = 108
	Freezing         StatusCode = 109
	Frozen           StatusCode = 110
	Thawed           StatusCode = 111
	StatusError      StatusCode = 112
	Ready            StatusCode = 113
	Success          StatusCode = 200
	Failure          StatusCode = 400
	Cancelled        StatusCode = 401
)

var statusNames = map[StatusCode]string{
	OperationCreated: "Operation created",
	Started:          "Started",
	Stopped:          "Stopped",
	Running:          "Running",
	Cancelling:       "Cancelling",
	Pending:          "Pending",
	Starting:         "Starting",
	Stopping:         "Stopping",
	Aborting:         "Aborting",
	Freezing:         "Freezing",
	Frozen:           "Frozen",
	Thawed:           "Thawed",
	StatusError:      "Error",
	Ready:            "Ready",
	Success:          "Success",
	Failure:          "Failure",
	Cancelled:        "Cancelled",
}

// String returns the name that goes next to the code on the wire.
func (s StatusCode) String() string { return statusNames[s] }

// IsFinal tells whether an operation in this state will not change any more.
func (s StatusCode) IsFinal() bool { return s >= Success }
