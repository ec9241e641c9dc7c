package api

import (
	"errors"
	"fmt"
	"net/http"
)

// Error is an error that knows its HTTP status. Services return it (wrapped or bare); the server turns it
// into the error envelope in one place, and the client turns the envelope back into it.
type Error struct {
	Status  int    // HTTP status code
	Message string // what clients show, and in places match on
	cause   error
}

// Error returns the message alone: that is what travels on the wire.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause given with %w, so that errors.Is sees through a status.
func (e *Error) Unwrap() error { return e.cause }

// Errorf makes an Error with the given HTTP status. The format takes %w like fmt.Errorf.
func Errorf(status int, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &Error{Status: status, Message: err.Error(), cause: errors.Unwrap(err)}
}

// BadRequest is for input that can never work as given (400).
func BadRequest(format string, args ...any) error {
	return Errorf(http.StatusBadRequest, format, args...)
}

// Forbidden is for a caller that may not do this (403).
func Forbidden(format string, args ...any) error {
	return Errorf(http.StatusForbidden, format, args...)
}

// NotFound is for an object that does not exist or that the caller may not know of (404).
func NotFound(format string, args ...any) error {
	return Errorf(http.StatusNotFound, format, args...)
}

// Conflict is for an object that exists already or is busy (409).
func Conflict(format string, args ...any) error {
	return Errorf(http.StatusConflict, format, args...)
}

// PreconditionFailed is for an ETag that no longer matches (412).
func PreconditionFailed(format string, args ...any) error {
	return Errorf(http.StatusPreconditionFailed, format, args...)
}

// NotImplemented is for a request that this build or host cannot serve (501).
func NotImplemented(format string, args ...any) error {
	return Errorf(http.StatusNotImplemented, format, args...)
}

// Unavailable is for a request that may work later, such as during shutdown (503).
func Unavailable(format string, args ...any) error {
	return Errorf(http.StatusServiceUnavailable, format, args...)
}

// StatusOf returns the HTTP status an error stands for: its own, or 500.
func StatusOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return http.StatusInternalServerError
}

// IsNotFound tells whether err stands for a 404.
func IsNotFound(err error) bool { return err != nil && StatusOf(err) == http.StatusNotFound }

// IsUnavailable tells whether err says that something cannot be reached now, and may be later.
func IsUnavailable(err error) bool { return StatusOf(err) == http.StatusServiceUnavailable }

// IsConflict tells whether err stands for a 409.
func IsConflict(err error) bool { return err != nil && StatusOf(err) == http.StatusConflict }
