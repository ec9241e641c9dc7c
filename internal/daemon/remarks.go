package daemon

import (
	"context"
	"log/slog"
	"net/url"
	"path"
	"strings"

	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/omitted"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/warning"
)

// recordWarnings puts what operations had to leave out on the list of warnings.
func (d *Daemon) recordWarnings(ctx context.Context, of string, remarks []omitted.Remark) {
	for _, r := range remarks {
		r.Entity = inProject(of, r.Entity)
		var err error
		if r.Message != "" {
			err = d.warnings.Upsert(ctx, r.Kind, warning.Moderate, r.Message, of, r.Entity)
		} else {
			err = d.warnings.Resolve(ctx, r.Kind, of, r.Entity)
		}
		if err != nil {
			slog.Error("A warning could not be written", "entity", r.Entity, "err", err)
		}
	}
}

// inProject is the URL of an instance as events name it. Operations name it without the project, which they have themselves.
func inProject(of, entity string) string {
	if name, ok := strings.CutPrefix(entity, "/1.0/instances/"); ok && !strings.Contains(name, "?") {
		return entity + strings.TrimPrefix(project.URL(of), "/1.0")
	}
	return entity
}

// renamedFrom is the URL that an object had before: the last element is another one, the rest is as it is.
func renamedFrom(now, old string) string {
	at, query, inProject := strings.Cut(now, "?")
	was := path.Join(path.Dir(at), url.PathEscape(path.Base(old)))
	if inProject {
		was += "?" + query
	}
	return was
}

// lifecycle is the hub for services whose objects have warnings: these go with their object, and take its new name.
type lifecycle struct {
	event.Publisher
	warnings *warning.Service
}

func (l lifecycle) Lifecycle(ctx context.Context, of, action, source string, details map[string]any) {
	l.Publisher.Lifecycle(ctx, of, action, source, details)
	var err error
	switch {
	case strings.HasSuffix(action, "-deleted"):
		err = l.warnings.Forget(context.WithoutCancel(ctx), of, source)
	case strings.HasSuffix(action, "-renamed"):
		if old, ok := details["old_name"].(string); ok {
			err = l.warnings.Move(context.WithoutCancel(ctx), of, renamedFrom(source, old), source)
		}
	}
	if err != nil {
		slog.Error("Warnings about what has gone could not be removed", "entity", source, "err", err)
	}
}
