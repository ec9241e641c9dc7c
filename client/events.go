package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/berthd/berth/api"
)

// Events is an open stream of events.
type Events struct {
	conn *websocket.Conn
	once sync.Once
	stop func() bool
}

// Events opens a stream of the given types (logging, operation, lifecycle; none means all) for the client's project. It ends
// with ctx.
func (c *Client) Events(ctx context.Context, types ...string) (*Events, error) {
	path := pathOf("events")
	if len(types) > 0 {
		path += "?type=" + url.QueryEscape(strings.Join(types, ","))
	}
	return c.openEvents(ctx, c.scoped(path))
}

// EventsAllProjects is Events for every project.
func (c *Client) EventsAllProjects(ctx context.Context, types ...string) (*Events, error) {
	path := pathOf("events") + "?all-projects=true"
	if len(types) > 0 {
		path += "&type=" + url.QueryEscape(strings.Join(types, ","))
	}
	return c.openEvents(ctx, path)
}

func (c *Client) openEvents(ctx context.Context, path string) (*Events, error) {
	conn, err := c.websocket(ctx, path)
	if err != nil {
		return nil, err
	}
	e := &Events{conn: conn}
	e.stop = context.AfterFunc(ctx, func() { e.Close() })
	return e, nil
}

// Next waits for the next event.
func (e *Events) Next() (*api.Event, error) {
	_, data, err := e.conn.ReadMessage()
	if err != nil {
		return nil, err
	}
	var event api.Event
	if err := json.Unmarshal(data, &event); err != nil {
		return nil, fmt.Errorf("decode event: %w", err)
	}
	return &event, nil
}

// Close ends the stream.
func (e *Events) Close() {
	e.once.Do(func() {
		if e.stop != nil {
			e.stop()
		}
		e.conn.Close()
	})
}
