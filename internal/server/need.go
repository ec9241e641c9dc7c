package server

import (
	"errors"
	"log/slog"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/request"
)

// Need is what a caller must be allowed to do for a route to be taken. It is asked before anything is looked up, so that the answer to those
// who may not is the same whether there is such an object or project or not. The zero value lets in only who may do everything.
type Need struct {
	// May is the entitlement.
	May access.Entitlement
	// On is the kind of object it is on. An object that is in a project is in that of the request.
	On access.Entity
	// Name is the variable of the path that names the object. "" asks for the entitlement on what holds all of the kind: the project, for
	// kinds that projects have, else the server.
	Name string
	// Lists says that with ?all-projects= the answer has only what the caller sees, so that whoever is trusted may ask.
	Lists bool
	// Rows says that so has the answer for one project, so that whoever sees something of the kind there may ask.
	Rows bool
}

// The needs of routes that are about no object in particular.
var (
	// FullRights says of a route that it is for those who may do everything.
	FullRights = Need{May: access.Admin, On: access.Server}
	// AnyoneTrusted says that the answer has only what everybody who is trusted may see.
	AnyoneTrusted = Need{May: access.Authenticated, On: access.Server}
)

// on is the need of an entitlement on the object that a variable of the path names.
func on(kind access.Entity, variable string, may access.Entitlement) Need {
	return Need{May: may, On: kind, Name: variable}
}

// amid is the need of an entitlement on the project, about all its objects of a kind.
func amid(kind access.Entity, may access.Entitlement) Need { return Need{May: may, On: kind} }

// errNothingSeen answers with an empty list those whose rights come of groups: whether there is such a project or not.
var errNothingSeen = errors.New("nothing is seen")

// admit refuses callers who may not take a route.
func (s *Server) admit(r *Request, route Route) error {
	if route.Public {
		return nil
	}
	if r.caller.Unbound() {
		return nil
	}
	if !s.allows(r, route.Need) {
		if route.Need.Rows && r.caller.Rights.Fine() {
			return errNothingSeen
		}
		slog.Warn("Rejecting request that is not allowed", "ip", r.caller.Address, "method", r.Method, "url", r.URL.Path, "username", r.caller.Username)
		return request.ErrNotAuthorized
	}
	return nil
}

// allows judges a need for a request.
func (s *Server) allows(r *Request, need Need) bool {
	switch {
	case need.May == "":
		return r.caller.Unbound()
	case need.Lists && r.AllProjects():
		return r.Trusted()
	case need.Rows:
		return r.caller.Rights.Some(need.On, r.Project()) || s.allowsIn(r, need, r.Project())
	}
	switch need.On {
	case access.Identity:
		return r.caller.May(need.May, access.Object{Entity: need.On, Name: r.Var("method") + "/" + r.resolveIdentity(need.Name)})
	case access.Server, access.StoragePool, access.Group, access.IdentityProviderGroup:
		object := access.Object{Entity: need.On, Name: r.Var(need.Name)}
		if need.Name == "" {
			object = access.Object{Entity: access.Server}
		}
		return r.caller.May(need.May, object)
	case access.Certificate:
		return s.allowsCertificate(r, need)
	case access.Project:
		name := r.Project()
		if need.Name != "" {
			name = r.Var(need.Name)
		}
		return r.caller.May(need.May, access.InProject(name))
	}
	name := r.Project()
	if need.On == access.StorageVolume && need.Name != "" && r.Var("type") == "image" {
		name = api.ProjectDefault // copies of images serve all projects
	}
	return s.allowsIn(r, need, name)
}

// allowsIn judges a need for an object in a project. Where a project shares what the default project has, whoever may see things in it sees
// those; to change them takes the same right in the default project, where others rely on them.
func (s *Server) allowsIn(r *Request, need Need, name string) bool {
	if !r.caller.May(need.May, objectIn(name, need, r)) {
		return false
	}
	if need.May.View() {
		return true
	}
	home := s.home(r, need.On, name)
	return home == name || r.caller.May(need.May, objectIn(home, need, r))
}

func objectIn(name string, need Need, r *Request) access.Object {
	if need.Name == "" {
		return access.InProject(name)
	}
	object := access.Object{Entity: need.On, Project: name, Name: r.Var(need.Name)}
	if need.On == access.StorageVolume {
		object.Name = access.VolumeName(r.Var("pool"), r.Var("type"), object.Name)
	}
	return object
}

// home is the project in which a project's objects of a kind are. Volumes of instances are where these are.
func (s *Server) home(r *Request, kind access.Entity, name string) string {
	feature, shared := project.Shared(kind)
	if !shared || s.services.Projects == nil || kind == access.StorageVolume && r.Var("type") != "" && r.Var("type") != "custom" {
		return name
	}
	return s.services.Projects.Effective(feature, name)
}

// allowsCertificate judges a need for a certificate, which a path may name by the beginning of its fingerprint. Whoever may not see all knows
// one, and the path is made to name that in full: what others begin with stays unknown.
func (s *Server) allowsCertificate(r *Request, need Need) bool {
	if need.Name == "" {
		return r.caller.May(need.May, access.Object{Entity: access.Server})
	}
	given := r.Var(need.Name)
	if full := r.caller.Username; given != "" && len(given) <= len(full) && full[:len(given)] == given {
		if r.caller.May(need.May, access.Object{Entity: access.Certificate, Name: full}) {
			r.vars[need.Name] = full
			return true
		}
	}
	return r.caller.May(need.May, access.Object{Entity: access.Certificate, Name: given})
}

// resolveIdentity is the identifier of the identity that a variable of the path has, or its name.
func (r *Request) resolveIdentity(variable string) string {
	return r.server.services.Identities.Resolve(r.Context(), r.Var("method"), r.Var(variable))
}

// rows tells which objects of a kind the caller sees in a list of the request's project; nil: all of them. may is the entitlement to see all.
func (r *Request) rows(kind access.Entity, may access.Entitlement) func(project, name string) bool {
	if r.caller.May(may, access.InProject(r.Project())) {
		return nil
	}
	return r.viewer(kind)
}

// sees tells whether the caller may see the objects of a kind in the request's project.
func (r *Request) sees(kind access.Entity, name string) bool {
	return r.caller.May(access.CanView, access.Object{Entity: kind, Project: r.Project(), Name: name})
}
