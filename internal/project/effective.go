package project

import (
	"net/url"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
)

// Kind is a kind of objects that a project has of its own or shares with the default project.
type Kind string

// Kinds. Instances are always a project's own.
const (
	Images   Kind = "images"
	Networks Kind = "networks"
	Profiles Kind = "profiles"
	Volumes  Kind = "storage.volumes" // custom ones, and buckets
)

// kinds in the order in which clients are told of them.
var kinds = []Kind{Images, Networks, Profiles, Volumes}

func (k Kind) key() string { return "features." + string(k) }

// Effective is the project in which a project's objects of a kind are: itself, or the default project. Of a project that there is not, it is
// itself, where nothing is.
func (s *Service) Effective(kind Kind, name string) string {
	if name == "" || name == api.ProjectDefault {
		return api.ProjectDefault
	}
	row, ok := s.table.Get(name)
	if ok && !config.IsTrue(row.Value.Config[kind.key()]) {
		return api.ProjectDefault
	}
	return name
}

// URL is where the API shows an object of a project: URL("blue", "instances", "web", "snapshots", "s0").
func URL(project string, path ...string) string {
	var b strings.Builder
	b.WriteString("/1.0")
	for _, element := range path {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(element))
	}
	if project != "" && project != api.ProjectDefault {
		b.WriteString("?project=" + url.QueryEscape(project))
	}
	return b.String()
}

// Sharing lists the projects whose objects of a kind are in a project: itself, if it has some of its own, and for the default project those
// that have none.
func (s *Service) Sharing(kind Kind, name string) []string {
	if name != api.ProjectDefault {
		if s.Effective(kind, name) != name {
			return nil
		}
		return []string{name}
	}
	names := []string{}
	for _, one := range s.Names() {
		if s.Effective(kind, one) == api.ProjectDefault {
			names = append(names, one)
		}
	}
	return names
}
