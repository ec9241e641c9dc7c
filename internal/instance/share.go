package instance

import (
	"maps"
	"slices"
	"sync/atomic"

	"github.com/berthd/berth/internal/device"
)

// Intern implements store.Interner.
func (i *Instance) Intern(like *Instance) {
	i.view = new(atomic.Pointer[view])
	if like != nil {
		i.Body.share(&like.Body)
		i.Project = shared(i.Project, like.Project)
		i.Pool = shared(i.Pool, like.Pool)
	}
}

// share has b hold what is equal in like as the same memory: what comes from one image and one set of profiles is alike.
func (b *Body) share(like *Body) {
	b.Type = shared(b.Type, like.Type)
	b.Architecture = shared(b.Architecture, like.Architecture)
	b.Description = shared(b.Description, like.Description)
	b.Config = sharedMap(b.Config, like.Config)
	b.Devices = sharedDevices(b.Devices, like.Devices)
	if slices.Equal(b.Profiles, like.Profiles) && (b.Profiles == nil) == (like.Profiles == nil) {
		b.Profiles = like.Profiles
	}
}

// shared is s, held as like if that is the same.
func shared[T ~string](s, like T) T {
	if s == like {
		return like
	}
	return s
}

func sharedMap[M ~map[string]string](m, like M) M {
	if maps.Equal(m, like) && (m == nil) == (like == nil) {
		return like
	}
	for key, value := range like {
		if own, ok := m[key]; ok {
			delete(m, key) // assigning alone would leave the old key in place
			m[key] = shared(own, value)
		}
	}
	return m
}

func sharedDevices(devices, like map[string]device.Config) map[string]device.Config {
	same := len(devices) == len(like) && (devices == nil) == (like == nil)
	for name, cfg := range devices {
		other, ok := like[name]
		same = same && ok && maps.Equal(cfg, other)
		devices[name] = sharedMap(cfg, other)
	}
	if same {
		return like
	}
	return devices
}
