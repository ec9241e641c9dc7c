package server

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/request"
)

type eventsAPI struct {
	hub *event.Hub
	// allowed tells whether pages of an origin may use the API; nil: none but our own.
	allowed func(origin string) bool
}

func (a eventsAPI) routes() []Route {
	if a.hub == nil {
		return nil
	}
	return []Route{{Method: "GET", Path: "/1.0/events", Need: Need{May: access.CanViewEvents, On: access.Project, Lists: true}, Handle: a.listen}}
}

// upgrader checks that a browser's page comes from this very server, or from one that the administrator allows. No
// browser reaches the socket, and clients there name all kinds of origins.
func (a eventsAPI) upgrader() *websocket.Upgrader {
	return &websocket.Upgrader{HandshakeTimeout: 10 * time.Second, CheckOrigin: func(r *http.Request) bool {
		origin := r.Header.Get("Origin")
		if r.TLS == nil || origin == "" {
			return true
		}
		u, err := url.Parse(origin)
		return err == nil && strings.EqualFold(u.Host, r.Host) || a.allowed != nil && a.allowed(origin)
	}}
}

const (
	eventPing    = 10 * time.Second
	eventTimeout = 10 * time.Second // for one message to be taken
)

// listen sends events until either side ends.
func (a eventsAPI) listen(r *Request) Response {
	filter, err := eventFilter(r)
	if err != nil {
		return Fail(err)
	}
	return Raw(func(w http.ResponseWriter, hr *http.Request) error {
		conn, err := a.upgrader().Upgrade(w, hr, nil)
		if err != nil {
			return nil // the upgrader has answered
		}
		defer conn.Close()
		l := a.hub.Listen(filter)
		defer l.Close()
		pump(conn, l)
		return nil
	})
}

func eventFilter(r *Request) (event.Filter, error) {
	f := event.Filter{Types: map[string]bool{}, Project: r.Project(), Projects: r.AllProjects(), Level: slog.LevelDebug}
	if f.Projects && r.Query("project") != "" {
		return f, api.BadRequest("Cannot specify a project when requesting all projects")
	}
	f.Sees = seesEvents(r)
	// What the daemon logs tells of everybody.
	logs := r.caller.May(access.CanViewEvents, access.Object{Entity: access.Server})
	types := r.Query("type")
	if types == "" {
		types = "operation,lifecycle"
		if logs {
			types += ",logging"
		}
	}
	for _, one := range strings.Split(types, ",") {
		switch one {
		case event.TypeOperation, event.TypeLifecycle:
			f.Types[one] = true
		case event.TypeLogging:
			if !logs {
				return f, request.ErrNotAuthorized
			}
			f.Types[one] = true
		default:
			return f, api.BadRequest("%q isn't a supported event type", one)
		}
	}
	return f, nil
}

// seesEvents tells of which projects the caller hears; nil: of all, and of what belongs to none.
func seesEvents(r *Request) func(project string) bool {
	if r.caller.Unbound() {
		return nil
	}
	caller := r.caller
	return func(project string) bool {
		if project == "" {
			return caller.May(access.CanViewEvents, access.Object{Entity: access.Server})
		}
		return caller.May(access.CanViewEvents, access.InProject(project))
	}
}

// pump writes a listener's events to conn until one of both ends. What the client sends is read and dropped: that
// is how its end, and its answers to pings, are noticed.
func pump(conn *websocket.Conn, l *event.Listener) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		conn.SetReadLimit(64 << 10)
		for {
			if _, _, err := conn.NextReader(); err != nil {
				return
			}
		}
	}()
	ping := time.NewTicker(eventPing)
	defer ping.Stop()
	defer func() { _ = conn.Close(); <-gone }()
	for {
		select {
		case <-gone:
			return
		case <-ping.C:
			if conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(eventTimeout)) != nil {
				return
			}
		case message, ok := <-l.Events():
			if !ok {
				bye := websocket.FormatCloseMessage(websocket.CloseGoingAway, "")
				_ = conn.WriteControl(websocket.CloseMessage, bye, time.Now().Add(eventTimeout))
				return
			}
			_ = conn.SetWriteDeadline(time.Now().Add(eventTimeout))
			if conn.WriteMessage(websocket.TextMessage, message) != nil {
				return
			}
		}
	}
}
