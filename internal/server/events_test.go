package server

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/operation"
)

func TestEventsOverAWebsocket(t *testing.T) {
	s := testServer(t, root)
	web := httptest.NewServer(s)
	defer web.Close()
	url := "ws" + strings.TrimPrefix(web.URL, "http") + "/1.0/events"

	conn, _, err := websocket.DefaultDialer.Dial(url+"?type=operation,lifecycle", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// The listener may be added a moment after the handshake: publish until one arrives.
	got := make(chan api.Event, 1)
	go func() {
		var e api.Event
		if conn.ReadJSON(&e) == nil {
			got <- e
		}
	}()
	for {
		_, err := s.services.Operations.Start(context.Background(), "default",
			&operation.Task{Description: "x", Run: func(context.Context, operation.Progress) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		select {
		case e := <-got:
			if e.Type != "operation" || e.Project != "default" {
				t.Errorf("%+v", e)
			}
			return
		default:
		}
	}
}

func TestEventsRefuse(t *testing.T) {
	s := testServer(t, root)
	for _, url := range []string{"/1.0/events?type=foo", "/1.0/events?project=a&all-projects=true"} {
		if status, _, env := call(t, s, "GET", url, ""); status != 400 {
			t.Errorf("%s: %d %s", url, status, env.Error)
		}
	}
}

func TestPagesOfOtherOrigins(t *testing.T) {
	s := testServer(t, root, Route{Method: "POST", Path: "/1.0/x", Handle: func(*Request) Response { return Empty() }})
	web := httptest.NewTLSServer(s)
	defer web.Close()
	for _, tt := range []struct {
		name, header, value string
		status              int
	}{
		{"no browser", "", "", 200},
		{"our own page", "Sec-Fetch-Site", "same-origin", 200},
		{"another site", "Sec-Fetch-Site", "cross-site", 403},
		{"another origin, old browser", "Origin", "https://evil.example", 403},
	} {
		req, err := http.NewRequest("POST", web.URL+"/1.0/x", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if tt.header != "" {
			req.Header.Set(tt.header, tt.value)
		}
		resp, err := web.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.status {
			t.Errorf("%s: %d, want %d", tt.name, resp.StatusCode, tt.status)
		}
	}
	dialer := websocket.Dialer{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	url := "wss" + strings.TrimPrefix(web.URL, "https") + "/1.0/events"
	if _, resp, err := dialer.Dial(url, http.Header{"Origin": {"https://evil.example"}}); err == nil || resp.StatusCode != 403 {
		t.Errorf("a foreign page can listen to events: %v", err)
	}
	conn, _, err := dialer.Dial(url, http.Header{"Origin": {"https://" + strings.TrimPrefix(web.URL, "https://")}})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
