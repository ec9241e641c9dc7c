// Package access judges who may do what: the rights of a caller, and whether they hold for an object. Names of entitlements are those of LXD 6's
// fine-grained authorization, so that rights from a certificate and rights from groups are one kind of thing.
package access

import "slices"

// Entity is a kind of object that rights are about.
type Entity string

// Entities.
const (
	Server        Entity = "server"
	Project       Entity = "project"
	Instance      Entity = "instance"
	Image         Entity = "image"
	ImageAlias    Entity = "image_alias"
	Profile       Entity = "profile"
	Network       Entity = "network"
	StoragePool   Entity = "storage_pool"
	StorageVolume Entity = "storage_volume"
	Certificate   Entity = "certificate"
)

// Object is what a right is asked for. The project is that in which the object is, where kinds are shared with the default project too; a
// server, storage pool or certificate has none, and a project is named by Name.
type Object struct {
	Entity  Entity
	Project string
	Name    string
}

// InProject is a project as an object.
func InProject(name string) Object { return Object{Entity: Project, Name: name} }

// Grant is one right: an entitlement on an object, with what it implies.
type Grant struct {
	Entitlement Entitlement
	Object
}

// Rights are all that a caller may do. The zero value is none. They do not change: other rights of the same caller are another value.
type Rights struct {
	all    bool
	grants []Grant
}

// Full are the rights to everything.
func Full() Rights { return Rights{all: true} }

// Of are the rights that come of grants, from whatever sources.
func Of(grants ...Grant) Rights { return Rights{grants: grants} }

// Restricted are the rights of a client certificate that is restricted to projects: to use these, without changing what they are, and to see
// what the host has. Its holder may look at the certificate and renew it.
func Restricted(fingerprint string, projects []string) Rights {
	own := Object{Entity: Certificate, Name: fingerprint}
	grants := []Grant{{CanViewResources, Object{Entity: Server}}, {CanView, own}, {CanRenew, own}}
	for _, name := range projects {
		grants = append(grants, Grant{Operator, InProject(name)})
	}
	return Of(grants...)
}

// Metrics are the rights of a certificate of that type that is not restricted.
func Metrics() Rights { return Of(Grant{CanViewMetrics, Object{Entity: Server}}) }

// MetricsOf are the rights of one that is restricted to projects.
func MetricsOf(projects []string) Rights {
	var grants []Grant
	for _, name := range projects {
		grants = append(grants, Grant{CanViewMetrics, InProject(name)})
	}
	return Of(grants...)
}

// All tells whether nothing is kept from the caller.
func (r Rights) All() bool { return r.all }

// Cover tells whether all that others may do is among the rights.
func (r Rights) Cover(others Rights) bool {
	if r.all || others.all {
		return r.all
	}
	for _, g := range others.grants {
		if !slices.Contains(r.grants, g) {
			return false
		}
	}
	return true
}

// May tells whether an entitlement on an object is among the rights.
func (r Rights) May(want Entitlement, o Object) bool {
	if r.all {
		return true
	}
	for _, g := range r.grants {
		if g.implies(want, o) {
			return true
		}
	}
	return false
}

// Somewhere tells whether an entitlement is among the rights on any object.
func (r Rights) Somewhere(want Entitlement) bool {
	return r.all || slices.ContainsFunc(r.grants, func(g Grant) bool { return g.implies(want, g.Object) })
}

// Viewer tells which objects of a kind may be seen, for lists that reach over projects; nil: all of them, so that such a list costs nothing.
func (r Rights) Viewer(kind Entity) func(project, name string) bool {
	if r.all || r.May(Viewer, Object{Entity: Server}) {
		return nil
	}
	// Whoever sees one object of any name sees all of the project.
	whole := map[string]bool{}
	for _, g := range r.grants {
		if g.Entity == Project && g.implies(CanView, Object{Entity: kind, Project: g.Name}) {
			whole[g.Name] = true
		}
	}
	return func(project, name string) bool {
		return whole[project] || r.May(CanView, Object{Entity: kind, Project: project, Name: name})
	}
}
