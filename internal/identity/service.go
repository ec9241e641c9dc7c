// Package identity keeps who may use the API by rights that come of groups: the groups with their permissions, the identities in them, and which
// groups of an identity provider stand for which of them.
package identity

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/filter"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

// Objects knows what permissions can be about.
type Objects interface {
	// Home is the object as it is kept: what a project shares with the default one is that one's.
	Home(o access.Object) access.Object
	// Find tells whether there is such an object, and what tells it from another that has its name later; "" where nothing does.
	Find(o access.Object) (uuid string, ok bool)
	// List gives the objects of a kind.
	List(kind access.Entity) []access.Object
}

// Certificates is the trust store of clients whose rights do not come of groups; *certificate.Service implements it.
type Certificates interface {
	List(ctx context.Context, f *filter.Clauses) []api.Certificate
	Has(fingerprint string) bool
	// Missing holds for a commit while a certificate is not there.
	Missing(fingerprint string) store.Op
	// Standing are the guards on what gives a caller their rights by the trust store; 403 if these are fewer now than those they came with.
	Standing(ctx context.Context) ([]store.Op, error)
	// Check refuses certificates with which nobody could get in.
	Check(*x509.Certificate) error
	// StaysOut fails for a certificate that would have all rights as soon as nothing restricts it.
	StaysOut(*x509.Certificate) error
}

// Tokens are what tokens need of the server.
type Tokens struct {
	// Addresses are those at which clients reach the server.
	Addresses func() []string
	// Fingerprint is that of the server's certificate.
	Fingerprint string
	// Expires is when a token that is made at an instant expires; the zero time is never.
	Expires func(time.Time) time.Time
}

// Deps are the parts that the service is made of.
type Deps struct {
	Store        *store.Store
	Events       event.Publisher
	Objects      Objects
	Certificates Certificates
	Tokens       Tokens
	// Changed is told when somebody's rights may be others than they were, before that is answered.
	Changed func()
	// Noticed is told of each change of the tables, whoever made it. It must be quick.
	Noticed func()
}

// Service keeps groups and identities.
type Service struct {
	Deps
	groups     *store.Table[group]    // by ID
	names      *store.Table[string]   // of groups: their IDs
	identities *store.Table[identity] // by method and identifier
	mappings   *store.Table[mapping]  // by the provider's name of a group
}

// New makes the service; it owns the tables "auth-groups", "auth-group-names", "auth-identities" and "auth-provider-groups".
func New(d Deps) *Service {
	s := &Service{
		Deps: d, groups: store.NewTable[group](d.Store, "auth-groups"), names: store.NewTable[string](d.Store, "auth-group-names"),
		identities: store.NewTable[identity](d.Store, "auth-identities"), mappings: store.NewTable[mapping](d.Store, "auth-provider-groups"),
	}
	if d.Noticed != nil {
		s.groups.OnChange(d.Noticed)
		s.identities.OnChange(d.Noticed)
		s.mappings.OnChange(d.Noticed)
	}
	return s
}

var (
	errNoGroup    = api.NotFound("Group not found")
	errNoIdentity = api.NotFound("Identity not found")
	errNoMapping  = api.NotFound("Identity provider group not found")
)

// sees tells whether the caller may see an object that is of no project.
func sees(ctx context.Context, kind access.Entity, name string) bool {
	return request.CallerFrom(ctx).May(access.CanView, access.Object{Entity: kind, Name: name})
}

// changed tells of a change, and has those reconsidered who are connected.
func (s *Service) changed(ctx context.Context, action string, o access.Object) {
	s.Events.Lifecycle(ctx, "", action, o.URL(), nil)
	if s.Changed != nil {
		s.Changed()
	}
}

func groupObject(name string) access.Object { return access.Object{Entity: access.Group, Name: name} }

func mappingObject(name string) access.Object {
	return access.Object{Entity: access.IdentityProviderGroup, Name: name}
}

func identityObject(method, id string) access.Object {
	return access.Object{Entity: access.Identity, Name: method + "/" + id}
}
