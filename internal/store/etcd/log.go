package etcd

import (
	"context"
	"log/slog"
	"runtime"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newLogger makes the logger of an etcd server. It would end the process when it cannot go on: a failed write of its log is
// "fatal", others make it panic. Here fail is told, and only the goroutine ends that has nothing more to do.
func newLogger(to *slog.Logger, fail func(why string)) *zap.Logger {
	hook := failHook(fail)
	return zap.New(&logCore{to: to}, zap.WithFatalHook(hook), zap.WithPanicHook(hook))
}

type failHook func(why string)

// OnWrite implements zapcore.CheckWriteHook.
func (h failHook) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	why := entry.Message
	for _, f := range fields {
		if err, ok := f.Interface.(error); ok && f.Type == zapcore.ErrorType {
			why += ": " + err.Error()
		}
	}
	h(why)
	runtime.Goexit()
}

// logCore hands etcd's log on. What etcd calls information is of interest to whoever debugs.
type logCore struct {
	to     *slog.Logger
	fields []zapcore.Field
}

func (c *logCore) level(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// Enabled implements zapcore.Core.
func (c *logCore) Enabled(l zapcore.Level) bool {
	return l > zapcore.ErrorLevel || c.to.Enabled(context.Background(), c.level(l))
}

// With implements zapcore.Core.
func (c *logCore) With(fields []zapcore.Field) zapcore.Core {
	return &logCore{to: c.to, fields: append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

// Check implements zapcore.Core.
func (c *logCore) Check(entry zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return to.AddCore(entry, c)
	}
	return to
}

// Write implements zapcore.Core.
func (c *logCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	values := zapcore.NewMapObjectEncoder()
	for _, f := range append(c.fields[:len(c.fields):len(c.fields)], fields...) {
		f.AddTo(values)
	}
	c.to.Log(context.Background(), c.level(entry.Level), "etcd: "+entry.Message, "fields", values.Fields)
	return nil
}

// Sync implements zapcore.Core.
func (c *logCore) Sync() error { return nil }
