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

	Identity              Entity = "identity"
	Group                 Entity = "group"
	IdentityProviderGroup Entity = "identity_provider_group"
)

// Object is what a right is asked for. The project is that in which the object is, where kinds are shared with the default project too; a
// server, storage pool, certificate, identity or group has none, and a project is named by Name. A volume is named by VolumeName, and an
// identity by its method and identifier with a slash between them.
type Object struct {
	Entity  Entity
	Project string
	Name    string
}

// VolumeName is the name of a volume as an object: of one name there may be a volume of each type in each pool.
func VolumeName(pool, kind, name string) string { return pool + "/" + kind + "/" + name }

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
	fine   bool
	seen   []Object
	grants []Grant
}

// Full are the rights to everything.
func Full() Rights { return Rights{all: true} }

// Of are the rights that come of grants, from whatever sources.
func Of(grants ...Grant) Rights { return Rights{grants: grants} }

// FineGrained are the rights of an identity that has them by its groups: lists show its holder what there is of them, instead of being refused.
func FineGrained(grants ...Grant) Rights { return Rights{fine: true, grants: grants} }

// Seeing are the rights with those to see some objects, which nothing that lasts hangs on: Cover does not count them.
func (r Rights) Seeing(objects ...Object) Rights {
	r.seen = objects
	return r
}

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

// Fine tells whether the rights come of groups.
func (r Rights) Fine() bool { return r.fine }

// Grants are what the rights are made of.
func (r Rights) Grants() []Grant { return slices.Clone(r.grants) }

// Cover tells whether all that others may do is among the rights.
func (r Rights) Cover(others Rights) bool {
	if r.all || others.all {
		return r.all
	}
	for _, g := range others.grants {
		if !slices.Contains(r.grants, g) && !r.May(g.Entitlement, g.Object) {
			return false
		}
	}
	return true
}

// Lost are the grants of before that are not among the rights any more.
func (r Rights) Lost(before Rights) []Grant {
	var lost []Grant
	for _, g := range before.grants {
		if !r.May(g.Entitlement, g.Object) && !slices.Contains(r.grants, g) {
			lost = append(lost, g)
		}
	}
	return lost
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
	return want == CanView && slices.Contains(r.seen, o)
}

// Somewhere tells whether an entitlement is among the rights on any object.
func (r Rights) Somewhere(want Entitlement) bool {
	return r.all || slices.ContainsFunc(r.grants, func(g Grant) bool { return g.implies(want, g.Object) })
}

// Viewer tells which objects of a kind may be seen, for lists; nil: all of them, so that such a list costs nothing. What is asked of each object
// costs the same for any number of grants.
func (r Rights) Viewer(kind Entity) func(project, name string) bool {
	if r.May(CanView, Object{Entity: kind, Project: anyProject, Name: anyName}) {
		return nil
	}
	// Whoever sees one object of any name sees all of the project.
	whole, single := map[string]bool{}, map[Object]bool{}
	for _, g := range r.grants {
		switch {
		case g.Entity == Project && g.implies(CanView, Object{Entity: kind, Project: g.Name, Name: anyName}):
			whole[g.Name] = true
		case g.Entity == kind:
			single[g.Object] = true // whoever may do anything with it may see it
		}
	}
	return func(project, name string) bool {
		return whole[project] || single[Object{Entity: kind, Project: project, Name: name}]
	}
}

// Names that no object has: what may be done with it by rights on what holds it.
const anyProject, anyName = "*", "*"

// Some tells whether there may be objects of a kind in a project that may be seen.
func (r Rights) Some(kind Entity, project string) bool {
	return r.May(CanView, Object{Entity: kind, Project: project, Name: anyName}) ||
		slices.ContainsFunc(r.grants, func(g Grant) bool { return g.Entity == kind && g.Project == project })
}
