package initcmd

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"

	"github.com/berthd/berth/api"
)

// object is something on the server of which a preseed sets a part, V. Others may change it at the same time.
type object[V any] struct {
	name string // as errors call it
	get  func() (value V, etag string, err error)
	put  func(value V, etag string) error
	// back is what there is now, without what was changed from before to after and is still so.
	back func(now, before, after V) V
}

// content is what pools, projects, networks and profiles have in common.
type content struct {
	description string
	config      map[string]string
	devices     map[string]map[string]string
}

func (n *named) object() object[*content] {
	return object[*content]{
		name: n.name,
		get: func() (*content, string, error) {
			c, etag, err := n.get()
			if err != nil {
				return nil, "", err
			}
			return &content{c.description, whole(c.config), whole(c.devices)}, etag, nil
		},
		put: n.put,
		back: func(now, before, after *content) *content {
			out := &content{
				description: now.description,
				config:      takenBack(now.config, before.config, after.config, n.want.config),
				devices:     takenBack(now.devices, before.devices, after.devices, n.want.devices),
			}
			if n.want.description != "" && now.description == after.description {
				out.description = before.description
			}
			return out
		},
	}
}

// change writes an object, and registers what takes that back. A write that is refused has changed nothing, and nothing is taken back.
func change[V any](a *applier, o object[V], before, want V, etag string) error {
	if err := o.put(want, etag); err != nil {
		return err
	}
	after, _, err := o.get() // a server completes values, such as "auto", and hides some
	if err != nil {
		after = want
	}
	a.later(func() error { return o.restore(before, after) })
	return nil
}

// attempts bounds how often an undo begins again as somebody else was faster.
const attempts = 10

func (o *object[V]) restore(before, after V) error {
	var err error
	for range attempts {
		now, etag, getErr := o.get()
		if api.IsNotFound(getErr) {
			return nil
		}
		if getErr != nil {
			return getErr
		}
		next := o.back(now, before, after)
		if reflect.DeepEqual(next, now) {
			return nil
		}
		if err = o.put(next, etag); api.StatusOf(err) != http.StatusPreconditionFailed {
			return err
		}
	}
	return err
}

// made registers that an object was made, and how it is removed unless somebody has changed it since: it is in use then, or another of its name.
func made[V any](a *applier, o object[V], remove func() error) {
	before, _, beforeErr := o.get()
	a.later(func() error {
		now, _, err := o.get()
		switch {
		case api.IsNotFound(err):
			return nil
		case beforeErr != nil:
			return fmt.Errorf("%s is left: what it was like when it was new is not known: %w", o.name, beforeErr)
		case err != nil:
			return err
		case !reflect.DeepEqual(now, before):
			return fmt.Errorf("%s is left: somebody else has changed it since", o.name)
		}
		return remove()
	})
}

// takenBack is now with those of the wanted keys as they were before that nobody has changed since after.
func takenBack[V, W any](now, before, after map[string]V, wanted map[string]W) map[string]V {
	out := maps.Clone(now)
	for key := range wanted {
		is, there := now[key]
		made, set := after[key]
		if there != set || !reflect.DeepEqual(is, made) {
			continue
		}
		if was, had := before[key]; had {
			out[key] = was
		} else {
			delete(out, key)
		}
	}
	return out
}

// whole is a map that can be written to.
func whole[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}
