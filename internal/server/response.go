package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

// Response is the answer to a request. A handler that has taken the connection over returns nil.
type Response interface {
	respond(w http.ResponseWriter, r *Request) error
}

// envelope is api.Response as it is written: the metadata is any value.
type envelope struct {
	Type       api.ResponseType `json:"type"`
	Status     string           `json:"status"`
	StatusCode int              `json:"status_code"`
	Operation  string           `json:"operation"`
	ErrorCode  int              `json:"error_code"`
	Error      string           `json:"error"`
	Metadata   any              `json:"metadata"`
}

type syncResponse struct {
	status   int
	metadata any
	etag     string
	location string
}

// Sync answers with v as metadata.
func Sync(v any) Response { return syncResponse{status: http.StatusOK, metadata: v} }

// SyncETag answers with v and its version, from ETag.
func SyncETag(v any, etag string) Response {
	return syncResponse{status: http.StatusOK, metadata: v, etag: etag}
}

// encodedResponse is a whole answer that was encoded before: it can be given any number of times.
type encodedResponse struct {
	body   []byte
	header http.Header
}

// encodeSync is SyncETag, encoded at once, with the version as callers see it.
func encodeSync(v any, etag string) (Response, error) {
	body, err := json.Marshal(envelope{
		Type: api.SyncResponse, Status: api.Success.String(), StatusCode: int(api.Success), Metadata: v,
	})
	if err != nil {
		return nil, err
	}
	body = append(body, '\n')
	return encodedResponse{body: body, header: http.Header{
		"Content-Type": {"application/json"}, "Content-Length": {strconv.Itoa(len(body))}, "Etag": {strconv.Quote(etag)},
	}}, nil
}

func (e encodedResponse) respond(w http.ResponseWriter, _ *Request) error {
	header := w.Header()
	for key, values := range e.header {
		header[key] = values
	}
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(e.body)
	return err
}

// Empty says that it was done.
func Empty() Response { return Sync(struct{}{}) }

// Created says that the object at this URL was made.
func Created(url string) Response {
	return syncResponse{status: http.StatusCreated, metadata: struct{}{}, location: url}
}

func (s syncResponse) respond(w http.ResponseWriter, r *Request) error {
	if s.etag != "" {
		w.Header().Set("ETag", strconv.Quote(r.server.shownETag(s.etag)))
	}
	if s.location != "" {
		w.Header().Set("Location", s.location)
	}
	return writeJSON(w, s.status, envelope{
		Type: api.SyncResponse, Status: api.Success.String(), StatusCode: int(api.Success), Metadata: s.metadata,
	})
}

// list answers with a JSON array that the function writes, as it goes: a long one is never whole in memory.
type list func(w io.Writer) error

// listBegin is the answer up to the array.
var listBegin = func() []byte {
	data, err := json.Marshal(envelope{Type: api.SyncResponse, Status: api.Success.String(), StatusCode: int(api.Success)})
	if err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(data, []byte("null}"))
}()

func (l list) respond(w http.ResponseWriter, _ *Request) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	if _, err := w.Write(listBegin); err != nil {
		return err
	}
	if err := l(w); err != nil {
		return err
	}
	_, err := io.WriteString(w, "}\n")
	return err
}

type asyncResponse struct {
	task     *operation.Task
	ofServer bool
}

// Async runs t as an operation of the request's project and tells the caller where to follow it.
func Async(t *operation.Task) Response { return asyncResponse{task: t} }

// AsyncOfServer is Async for an operation that is of no project.
func AsyncOfServer(t *operation.Task) Response { return asyncResponse{task: t, ofServer: true} }

func (a asyncResponse) respond(w http.ResponseWriter, r *Request) error {
	op, err := a.start(r)
	if err != nil {
		if a.task.Revoke != nil {
			err = errors.Join(err, a.task.Revoke(context.WithoutCancel(r.Context())))
		}
		return Fail(err).respond(w, r)
	}
	w.Header().Set("Location", op.URL())
	return writeJSON(w, http.StatusAccepted, envelope{
		Type: api.AsyncResponse, Status: api.OperationCreated.String(), StatusCode: int(api.OperationCreated),
		Operation: op.URL(), Metadata: op.Snapshot(),
	})
}

func (a asyncResponse) start(r *Request) (*operation.Operation, error) {
	if a.ofServer {
		return r.server.services.Operations.Start(r.Context(), "", a.task)
	}
	return r.server.start(r, a.task)
}

type failure struct{ err error }

// Fail answers with an error; its status is api.StatusOf.
func Fail(err error) Response { return failure{err: err} }

// status is what the client is told.
func (f failure) status() int {
	status := api.StatusOf(f.err)
	if errors.Is(f.err, store.ErrConflict) && status == http.StatusInternalServerError {
		status = http.StatusPreconditionFailed // somebody else was quicker
	}
	if errors.Is(f.err, store.ErrTooLarge) && status == http.StatusInternalServerError {
		status = http.StatusBadRequest // what was sent is more than a record may hold
	}
	return status
}

// statusOf is the status of an answer, as far as it is known before it is written.
func statusOf(resp Response) int {
	if f, ok := resp.(failure); ok {
		return f.status()
	}
	return http.StatusOK
}

func (f failure) respond(w http.ResponseWriter, r *Request) error {
	status := f.status()
	if status >= http.StatusInternalServerError && status != http.StatusNotImplemented {
		slog.Warn("A request failed", "method", r.Method, "url", r.URL.Path, "err", f.err)
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	return writeJSON(w, status, envelope{Type: api.ErrorResponse, ErrorCode: status, Error: f.err.Error()})
}

type raw func(w http.ResponseWriter, r *http.Request) error

// Raw lets f write the whole answer, as for a file. If f fails before it wrote anything the error is the answer.
func Raw(f func(w http.ResponseWriter, r *http.Request) error) Response { return raw(f) }

func (f raw) respond(w http.ResponseWriter, r *Request) error {
	watched := &writeWatcher{ResponseWriter: w, taken: func(c net.Conn) { r.server.took(r.session, c) }}
	err := f(watched, r.Request)
	if err == nil {
		return nil
	}
	if watched.touched {
		slog.Debug("A request failed half way", "method", r.Method, "url", r.URL.Path, "err", err)
		panic(http.ErrAbortHandler) // the only way to tell the other side that the body is not whole
	}
	return Fail(err).respond(w, r)
}

type writeWatcher struct {
	http.ResponseWriter
	touched bool
	taken   func(net.Conn) // the connection was taken over
}

func (w *writeWatcher) WriteHeader(status int) {
	w.touched = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *writeWatcher) Write(p []byte) (int, error) {
	w.touched = true
	return w.ResponseWriter.Write(p)
}

// ReadFrom lets net/http send a file without reading it.
func (w *writeWatcher) ReadFrom(from io.Reader) (int64, error) {
	w.touched = true
	return io.Copy(w.ResponseWriter, from)
}

// Hijack is for websockets, whose library asks for it by type.
func (w *writeWatcher) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.touched = true
	conn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil && w.taken != nil {
		w.taken(conn)
	}
	return conn, buffered, err
}

// Unwrap lets http.ResponseController find Hijack and Flush.
func (w *writeWatcher) Unwrap() http.ResponseWriter { return w.ResponseWriter }

type noContent struct{}

func (noContent) respond(w http.ResponseWriter, _ *Request) error {
	w.WriteHeader(http.StatusOK)
	return nil
}

// buffers are those that answers are encoded in. A large one, of a long list, is not kept.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

const keptBuffer = 64 << 10

func writeJSON(w http.ResponseWriter, status int, v any) error {
	buf := buffers.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= keptBuffer {
			buf.Reset()
			buffers.Put(buf)
		}
	}()
	if err := json.NewEncoder(buf).Encode(v); err != nil {
		buf.Reset()
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(buf.Len()))
	w.WriteHeader(status)
	_, err := w.Write(buf.Bytes())
	return err
}
