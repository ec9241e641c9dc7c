package event

import (
	"context"
	"log/slog"
	"slices"

	"github.com/berthd/berth/api"
)

// LogHandler passes log lines on to next and tells the hub's listeners of them, whatever level next is set to.
func LogHandler(h *Hub, next slog.Handler) slog.Handler { return &logHandler{hub: h, next: next} }

type logHandler struct {
	hub   *Hub
	next  slog.Handler
	attrs []slog.Attr
	group string
}

// Enabled implements slog.Handler.
func (l *logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return l.next.Enabled(ctx, level) || l.hub.wants(level)
}

// Handle implements slog.Handler.
func (l *logHandler) Handle(ctx context.Context, r slog.Record) error {
	l.hub.publish("", TypeLogging, r.Level, func(bool) any {
		fields := map[string]string{}
		for _, a := range l.attrs {
			fields[a.Key] = a.Value.String()
		}
		r.Attrs(func(a slog.Attr) bool {
			fields[l.group+a.Key] = a.Value.String()
			return true
		})
		return api.EventLogging{Message: r.Message, Level: levelName(r.Level), Context: fields}
	})
	if !l.next.Enabled(ctx, r.Level) {
		return nil
	}
	return l.next.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (l *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	all := slices.Clone(l.attrs)
	for _, a := range attrs {
		a.Key = l.group + a.Key
		all = append(all, a)
	}
	return &logHandler{hub: l.hub, next: l.next.WithAttrs(attrs), attrs: all, group: l.group}
}

// WithGroup implements slog.Handler.
func (l *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{hub: l.hub, next: l.next.WithGroup(name), attrs: l.attrs, group: l.group + name + "."}
}

// levelName is the API's name of a level.
func levelName(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "error"
	case l >= slog.LevelWarn:
		return "warning"
	case l >= slog.LevelInfo:
		return "info"
	}
	return "debug"
}
