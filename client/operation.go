package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/berthd/berth/api"
)

// Operation is background work on the server. Its methods are safe for concurrent use.
type Operation struct {
	c *Client

	mu       sync.Mutex
	state    api.Operation
	handlers []func(api.Operation)
}

// operation makes an Operation from the answer to a request.
func (c *Client) operation(resp *api.Response) (*Operation, error) {
	if resp.Type != api.AsyncResponse {
		return nil, fmt.Errorf("expected a background operation, got an answer of type %q", resp.Type)
	}
	op := &Operation{c: c}
	if err := json.Unmarshal(resp.Metadata, &op.state); err != nil {
		return nil, fmt.Errorf("decode operation: %w", err)
	}
	if op.state.ID == "" {
		op.state.ID = path.Base(resp.Operation)
	}
	return op, nil
}

// Operations lists the operations of the client's project.
func (c *Client) Operations() ([]api.Operation, error) {
	byState := map[string][]api.Operation{}
	if _, err := c.Query(http.MethodGet, pathOf("operations")+"?recursion=1", nil, "", &byState); err != nil {
		return nil, err
	}
	var out []api.Operation
	for _, ops := range byState {
		out = append(out, ops...)
	}
	return out, nil
}

// Operation fetches one operation.
func (c *Client) Operation(id string) (*Operation, error) {
	state, _, err := get[api.Operation](c, pathOf("operations", id))
	if err != nil {
		return nil, err
	}
	return &Operation{c: c, state: *state}, nil
}

// CancelOperation asks for an operation to be cancelled.
func (c *Client) CancelOperation(id string) error {
	return c.send(http.MethodDelete, pathOf("operations", id), nil, "")
}

// State is the last state that was seen.
func (o *Operation) State() api.Operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state
}

// ID is the UUID of the operation.
func (o *Operation) ID() string { return o.State().ID }

// OnUpdate calls fn for each change of the operation that is seen while Wait runs.
func (o *Operation) OnUpdate(fn func(api.Operation)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.handlers = append(o.handlers, fn)
}

// Cancel asks the server to cancel the operation.
func (o *Operation) Cancel() error { return o.c.CancelOperation(o.ID()) }

// Refresh asks for the state.
func (o *Operation) Refresh() error {
	state, _, err := get[api.Operation](o.c, pathOf("operations", o.ID()))
	if err != nil {
		return err
	}
	o.update(*state)
	return nil
}

func (o *Operation) update(state api.Operation) {
	o.mu.Lock()
	if o.state.StatusCode.IsFinal() && !state.StatusCode.IsFinal() {
		o.mu.Unlock()
		return // a late event
	}
	o.state = state
	handlers := o.handlers
	o.mu.Unlock()
	for _, fn := range handlers {
		fn(state)
	}
}

// Wait waits for the operation to end and returns its failure, if it failed. When ctx ends first, the operation goes on.
// With OnUpdate handlers, the server's events are followed meanwhile.
func (o *Operation) Wait(ctx context.Context) error {
	if state := o.State(); state.StatusCode.IsFinal() {
		return failure(state)
	}
	o.mu.Lock()
	follow := len(o.handlers) > 0
	o.mu.Unlock()
	if follow {
		listening, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Add(1)
		go func() {
			defer wg.Done()
			o.follow(listening)
		}()
		defer wg.Wait()
		defer stop()
	}
	state, _, err := get[api.Operation](o.c.WithContext(ctx), pathOf("operations", o.ID(), "wait")+"?timeout=-1")
	if err != nil {
		return err
	}
	o.update(*state)
	return failure(*state)
}

// follow turns events about the operation into updates. Its failure costs progress only: Wait asks on its own.
func (o *Operation) follow(ctx context.Context) {
	events, err := o.c.Events(ctx, "operation")
	if err != nil {
		return
	}
	defer events.Close()
	id := o.ID()
	for {
		event, err := events.Next()
		if err != nil {
			return
		}
		var state api.Operation
		if json.Unmarshal(event.Metadata, &state) == nil && state.ID == id && !state.StatusCode.IsFinal() {
			o.update(state)
		}
	}
}

// failure is the error of an operation that ended, with its status; LXD tells none.
func failure(state api.Operation) error {
	status := state.ErrCode
	if status == 0 {
		status = http.StatusBadRequest
	}
	switch {
	case state.Err != "":
		return api.Errorf(status, "%s", state.Err)
	case state.StatusCode == api.Failure || state.StatusCode == api.Cancelled:
		return api.Errorf(status, "%s", state.Status)
	}
	return nil
}

// Websocket connects to one of the operation's websockets, named by its secret.
func (o *Operation) Websocket(secret string) (*websocket.Conn, error) {
	return o.c.websocket(o.c.ctx, pathOf("operations", o.ID(), "websocket")+"?secret="+url.QueryEscape(secret))
}

// websocket opens a websocket at a path.
func (c *Client) websocket(ctx context.Context, path string) (*websocket.Conn, error) {
	header := http.Header{}
	if c.conn.userAgent != "" {
		header.Set("User-Agent", c.conn.userAgent)
	}
	base := "ws" + c.conn.base[len("http"):]
	start, shown := time.Now(), ""
	if u, err := url.Parse(base + path); c.trace != nil && err == nil {
		shown = maskURL(u)
		c.trace.Request("WEBSOCKET", shown, nil)
	}
	conn, resp, err := c.conn.ws.DialContext(ctx, base+path, header)
	if c.trace != nil {
		status := "connected"
		if err != nil {
			status = err.Error()
		}
		c.trace.Answer("WEBSOCKET", shown, status, time.Since(start), nil)
	}
	if err != nil {
		if resp != nil {
			if _, apiErr := decode(resp); apiErr != nil && api.StatusOf(apiErr) != http.StatusInternalServerError {
				return nil, apiErr
			}
		}
		return nil, err
	}
	return conn, nil
}
