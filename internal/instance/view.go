package instance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/berthd/berth/api"
)

// view is what lists need of an instance besides its live state. It is made once for as long as neither the record
// nor a profile changes, and goes with the record.
type view struct {
	profiles uint64 // Profiles.Changes when it was made
	// head and tail are the JSON of api.Instance before and after its status, without the braces around it.
	head, tail []byte
	root       string            // name of the root disk device
	hostNames  map[string]string // the host's ends of its NICs, by their names inside
}

// unknown is how an instance is encoded whose status is not set. No text of a user can look like it: within a string
// its quotes would have backslashes, and no other object has numbers.
var unknown = []byte(`"status":"","status_code":0,`)

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
	v.head, v.tail = halves(showExpanded(i, e, 0))
	return v
}

// halves encodes an instance without its status.
func halves(i *api.Instance) (head, tail []byte) {
	i.Status, i.StatusCode = "", 0
	data, err := json.Marshal(i)
	if err != nil {
		panic(fmt.Sprintf("instance: encode %s: %v", i.Name, err)) // strings, numbers and times of our own
	}
	head, tail, ok := bytes.Cut(data[1:len(data)-1], unknown)
	if !ok {
		panic("instance: api.Instance has no status any more")
	}
	return head, tail
}

// append appends api.Instance as JSON, without the last brace.
func (v *view) append(b []byte, status api.StatusCode) []byte {
	b = append(append(b, '{'), v.head...)
	b = append(append(b, `"status":"`...), status.String()...)
	b = append(b, `","status_code":`...)
	b = strconv.AppendInt(b, int64(status), 10)
	return append(append(b, ','), v.tail...)
}
