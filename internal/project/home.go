package project

import (
	"context"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/request"
)

// Homes tells in which project a project's objects of a kind are; *Service implements it.
type Homes interface {
	Effective(kind Kind, name string) string
	// Still fails if there is no such project, or another one than was asked for in the context (api.NotFound).
	Still(ctx context.Context, name string) error
}

// kindOf are the kinds of what a project may share, by what rights call them.
var kindOf = map[access.Entity]Kind{
	access.Image: Images, access.ImageAlias: Images, access.Profile: Profiles, access.Network: Networks, access.StorageVolume: Volumes,
}

// Shared is the kind of an object that projects may share; ok is false for all others.
func Shared(kind access.Entity) (k Kind, ok bool) {
	k, ok = kindOf[kind]
	return k, ok
}

// Home is Effective for whoever makes or changes something there. The caller needs the entitlement in that project, too, on the object, or
// where it gives no name on the project (403). The server has asked that when the request began; but its body may take any time, and the project
// may have got other features since. So whoever decides by features where something goes asks again, here.
func Home(ctx context.Context, in Homes, kind access.Entity, name string, may access.Entitlement, object string) (string, error) {
	if name == "" {
		name = api.ProjectDefault
	}
	if err := in.Still(ctx, name); err != nil {
		return "", err
	}
	home := in.Effective(kindOf[kind], name)
	if home == name {
		return home, nil
	}
	o := access.InProject(home)
	if object != "" {
		o = access.Object{Entity: kind, Project: home, Name: object}
	}
	return home, request.Require(ctx, may, o)
}
