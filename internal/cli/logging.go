package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/berthd/berth/client"
)

// startLogging sends what packages log to standard error, as --verbose and --debug ask.
func (c *App) startLogging() {
	level := slog.LevelWarn
	switch {
	case c.flagDebug:
		level = slog.LevelDebug
	case c.flagVerbose:
		level = slog.LevelInfo
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(c.Err, &slog.HandlerOptions{Level: level})))
}

// traced makes the requests of a client seen, where --verbose or --debug asks for it.
func (c *App) traced(server *client.Client) *client.Client {
	if !c.flagDebug && !c.flagVerbose {
		return server
	}
	return server.WithTrace(c.trace())
}

// trace shows the requests of this run on standard error: with --verbose a line for each, with --debug what was sent and answered, too.
func (c *App) trace() *client.Trace {
	var mu sync.Mutex
	show := func(body []byte, format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(c.Err, format+"\n", args...)
		var text bytes.Buffer
		if c.flagDebug && len(body) > 0 && json.Indent(&text, body, "    ", "  ") == nil {
			fmt.Fprintf(c.Err, "    %s\n", text.Bytes())
		}
	}
	return &client.Trace{
		Request: func(method, url string, body []byte) {
			if c.flagDebug {
				show(body, "--> %s %s", method, url)
			}
		},
		Answer: func(method, url, status string, took time.Duration, body []byte) {
			show(body, "<-- %s %s: %s (%s)", method, url, status, took.Round(100*time.Microsecond))
		},
	}
}
