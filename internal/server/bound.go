package server

import (
	"errors"
	"io"
	"net/http"
)

// boundWriter writes the answer to a caller for as long as it has the rights that it asked by: most of what takes long, such as the content of a
// file, does not look at the request's context.
type boundWriter struct {
	http.ResponseWriter
	session *session
	touched bool // something has been written
	cut     bool // something has not been
}

func (w *boundWriter) over() bool {
	w.cut = w.cut || w.session.ended.Load()
	return w.cut
}

// WriteHeader implements http.ResponseWriter.
func (w *boundWriter) WriteHeader(status int) {
	if !w.over() {
		w.touched = true
		w.ResponseWriter.WriteHeader(status)
	}
}

// Write implements http.ResponseWriter.
func (w *boundWriter) Write(p []byte) (int, error) {
	if w.over() {
		return 0, errTrustEnded
	}
	w.touched = true
	n, err := w.ResponseWriter.Write(p)
	if err != nil && w.over() {
		err = errors.Join(errTrustEnded, err)
	}
	return n, err
}

// Unwrap lets http.ResponseController find what is below.
func (w *boundWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// boundBody is what a caller sends, for as long as it has the rights that it began by.
type boundBody struct {
	io.ReadCloser
	session *session
}

// Read implements io.Reader.
func (b *boundBody) Read(p []byte) (int, error) {
	if b.session.ended.Load() {
		return 0, errTrustEnded
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && b.session.ended.Load() {
		err = errTrustEnded
	}
	return n, err
}

// conclude tells a caller whose rights have ended so. Where an answer has begun it is cut off, so that nobody takes it for whole.
func (s *Server) conclude(w *boundWriter, r *Request) {
	one := w.session
	one.mu.Lock()
	taken := one.conn != nil
	one.mu.Unlock()
	switch {
	case taken:
	case w.cut && w.touched:
		panic(http.ErrAbortHandler)
	case !w.touched && one.ended.Load():
		s.answer(w.ResponseWriter, r, Fail(errTrustEnded))
	}
}
