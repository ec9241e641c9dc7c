package instance

import (
	"fmt"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/rawjson"
)

// view is what lists need of an instance besides its live state. It is made once for as long as neither the record
// nor a profile changes, and goes with the record.
type view struct {
	profiles  uint64 // Profiles.Changes when it was made
	encoded   *rawjson.Encoded[*instanceWriter]
	root      string            // name of the root disk device
	hostNames map[string]string // the host's ends of its NICs, by their names inside
}

// viewOf returns the view of a record.
func (s *Service) viewOf(i *Instance) *view {
	// Asked before the definitions are: a view that a change overtakes is out of date from the beginning.
	profiles := s.Profiles.Changes()
	if i.view == nil { // a clone that is not stored yet
		return s.newView(i, profiles)
	}
	if v := i.view.Load(); v != nil && v.profiles == profiles {
		return v
	}
	v := s.newView(i, profiles)
	i.view.Store(v)
	return v
}

func (s *Service) newView(i *Instance, profiles uint64) *view {
	e := s.effectiveOf(i)
	v := &view{profiles: profiles, root: e.Root}
	for name, cfg := range e.Devices {
		if cfg["type"] != "nic" {
			continue
		}
		own := deviceVolatile(i.Config, name)
		if host := first(cfg["host_name"], own["host_name"]); host != "" {
			if v.hostNames == nil {
				v.hostNames = map[string]string{}
			}
			v.hostNames[first(cfg["name"], own["name"], name)] = host
		}
	}
	var err error
	if v.encoded, err = instanceForm.Encode(&api.InstanceFull{Instance: *showExpanded(i, e, 0)}); err != nil {
		panic(fmt.Sprintf("instance: encode %s: %v", i.Name, err)) // strings, numbers and times of our own
	}
	return v
}
