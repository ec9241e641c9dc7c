// Package serverconfig keeps the daemon's own configuration, as /1.0 shows and changes it.
package serverconfig

import (
	"context"
	"fmt"
	"maps"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/store"
)

// Prepare gets ready for a new value of a key: it does all that can fail. Then either commit is called, once the
// value is written, or abort.
type Prepare func(ctx context.Context, value string) (commit, abort func(), err error)

// Service is the configuration of this daemon.
type Service struct {
	store    *store.Store
	table    *store.Table[record]
	events   event.Publisher
	mu       sync.Mutex // one change at a time
	prepares map[string]Prepare
}

type record struct {
	Config map[string]string `json:"config"`
}

// New makes the service; it owns the table "config".
func New(s *store.Store, events event.Publisher) *Service {
	return &Service{store: s, table: store.NewTable[record](s, "config"), events: events, prepares: map[string]Prepare{}}
}

// OnChange sets what makes a key's new value take effect. It is for the time when the daemon is put together.
func (s *Service) OnChange(key string, p Prepare) { s.prepares[key] = p }

func (s *Service) current() (map[string]string, store.Revision) {
	row, ok := s.table.Get("server")
	if !ok {
		return nil, 0
	}
	return row.Value.Config, row.Revision
}

// Revision is that of the configuration as it is now.
func (s *Service) Revision() store.Revision {
	_, rev := s.current()
	return rev
}

// Show is the configuration as the API shows it: of a secret, only that there is one.
func (s *Service) Show() (map[string]any, store.Revision) {
	values, rev := s.current()
	shown := make(map[string]any, len(values))
	for key, value := range values {
		shown[key] = value
		if k, ok := Keys.Lookup(key); ok && k.Hidden {
			shown[key] = true
		}
	}
	return shown, rev
}

// Get returns the value of a key, or its default.
func (s *Service) Get(key string) string {
	values, _ := s.current()
	return Keys.Get(values, key)
}

// Bool is Get for a boolean.
func (s *Service) Bool(key string) bool { return config.IsTrue(s.Get(key)) }

// Int is Get for a number.
func (s *Service) Int(key string) int64 {
	values, _ := s.current()
	return Keys.GetInt(values, key)
}

// Replace makes values the whole configuration; check is asked, before anything happens, whether it is still based on
// the present revision.
func (s *Service) Replace(ctx context.Context, values map[string]any, check func(store.Revision) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.change(ctx, map[string]string{}, values, check)
}

// Merge changes the given keys and leaves the others; an empty value or null removes a key.
func (s *Service) Merge(ctx context.Context, values map[string]any, check func(store.Revision) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, _ := s.current()
	base := maps.Clone(before)
	if base == nil {
		base = map[string]string{}
	}
	return s.change(ctx, base, values, check)
}

func (s *Service) change(ctx context.Context, next map[string]string, values map[string]any, check func(store.Revision) error) error {
	before, rev := s.current()
	if err := check(rev); err != nil {
		return err
	}
	if err := overlay(next, before, values); err != nil {
		return err
	}
	changed := config.Changed(before, next)
	if len(changed) == 0 {
		return nil
	}
	var commits, aborts []func()
	undo := func() {
		for _, abort := range aborts {
			abort()
		}
	}
	for _, key := range changed {
		prepare, ok := s.prepares[key]
		if !ok {
			continue
		}
		commit, abort, err := prepare(ctx, next[key])
		if err != nil {
			undo()
			return err
		}
		commits, aborts = append(commits, commit), append(aborts, abort)
	}
	if _, err := s.store.Commit(ctx, s.table.Put(&record{Config: next}, "server")); err != nil {
		undo()
		return err
	}
	for _, commit := range commits {
		commit()
	}
	s.events.Lifecycle(ctx, "", "config-updated", "/1.0", nil)
	return nil
}

// overlay puts values, as they came in, into next; before holds what a hidden value stands for.
func overlay(next, before map[string]string, values map[string]any) error {
	keys := make([]string, 0, len(values))
	for key := range values {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, key := range keys {
		text, err := asText(key, values[key])
		if err != nil {
			return err
		}
		k, known := Keys.Lookup(key)
		if known && k.Hidden && values[key] == true {
			text = before[key] // the value as it was shown: keep it
		} else {
			if err := Keys.ValidateKey(key, text); err != nil {
				return err
			}
			if key == passwordKey && text != "" {
				if text, err = hashPassword(text); err != nil {
					return err
				}
			}
		}
		if text == "" {
			delete(next, key)
		} else {
			next[key] = text
		}
	}
	return nil
}

// asText takes what clients send for a value: text, and from YAML also numbers and booleans.
func asText(key string, value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "", nil
	case string:
		if strings.ContainsRune(v, 0) {
			return "", api.BadRequest("cannot set '%s': value has a NUL byte", key)
		}
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	default:
		return "", api.BadRequest("cannot set '%s': invalid type %s", key, fmt.Sprintf("%T", v))
	}
}
