package daemon

import (
	"context"
	"log/slog"
	"path"
	"strings"

	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/omitted"
	"github.com/berthd/berth/internal/warning"
)

// recordWarnings puts what operations had to leave out on the list of warnings.
func (d *Daemon) recordWarnings(ctx context.Context, project string, remarks []omitted.Remark) {
	for _, r := range remarks {
		var err error
		if r.Message != "" {
			err = d.warnings.Upsert(ctx, r.Kind, warning.Moderate, r.Message, project, r.Entity)
		} else {
			err = d.warnings.Resolve(ctx, r.Kind, project, r.Entity)
		}
		if err != nil {
			slog.Error("A warning could not be written", "entity", r.Entity, "err", err)
		}
	}
}

// lifecycle is the hub for services whose objects have warnings: these go with their object, and take its new name.
type lifecycle struct {
	event.Publisher
	warnings *warning.Service
}

func (l lifecycle) Lifecycle(ctx context.Context, project, action, source string, details map[string]any) {
	l.Publisher.Lifecycle(ctx, project, action, source, details)
	var err error
	switch {
	case strings.HasSuffix(action, "-deleted"):
		err = l.warnings.Forget(context.WithoutCancel(ctx), project, source)
	case strings.HasSuffix(action, "-renamed"):
		if old, ok := details["old_name"].(string); ok {
			err = l.warnings.Move(context.WithoutCancel(ctx), project, path.Join(path.Dir(source), path.Base(old)), source)
		}
	}
	if err != nil {
		slog.Error("Warnings about what has gone could not be removed", "entity", source, "err", err)
	}
}
