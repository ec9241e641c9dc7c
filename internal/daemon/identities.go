package daemon

import (
	"context"
	"log/slog"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/identity"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/storage"
	"github.com/berthd/berth/internal/store"
)

func (d *Daemon) wireIdentities() {
	d.identity = identity.New(identity.Deps{
		Store: d.store, Events: d.Hub, Objects: objects{d}, Certificates: d.certs,
		Tokens:  identity.Tokens{Addresses: d.https.addresses, Fingerprint: d.cert.Fingerprint, Expires: d.tokenExpiry},
		Noticed: d.trustChanged,
		Changed: func() {
			if d.server != nil {
				d.server.TrustChanged()
			}
		},
	})
	d.Hub.OnLifecycle = d.followObjects
	d.parts = append(d.parts, part{name: "identities", start: d.identity.Prune})
}

// named are the services whose records name projects.
type named [2]project.CertificatesOf

// RenameProject implements project.CertificatesOf.
func (n named) RenameProject(old, renamed string) []store.Op {
	return append(n[0].RenameProject(old, renamed), n[1].RenameProject(old, renamed)...)
}

// RemoveProject implements project.CertificatesOf.
func (n named) RemoveProject(name string) []store.Op {
	return append(n[0].RemoveProject(name), n[1].RemoveProject(name)...)
}

// followed are the events by which an object goes, or gets another name.
var followed = func() map[string]bool {
	m := map[string]bool{}
	for _, kind := range []string{"instance", "image", "image-alias", "profile", "network", "storage-volume", "storage-pool", "certificate"} {
		m[kind+"-deleted"], m[kind+"-renamed"] = true, true
	}
	return m
}()

// followObjects has permissions follow their objects.
func (d *Daemon) followObjects(ctx context.Context, action, source string, details map[string]any) {
	if !followed[action] {
		return
	}
	o, err := access.ParseURL(source)
	if err != nil {
		return
	}
	ctx = context.WithoutCancel(ctx) // it has happened
	in := ""                         // the pool and type of a volume, which events call by its name on disk
	if o.Entity == access.StorageVolume {
		at := strings.LastIndexByte(o.Name, '/') + 1
		in = o.Name[:at]
		o.Name = in + strings.TrimPrefix(o.Name[at:], o.Project+"_")
	}
	if old, ok := details["old_name"].(string); ok {
		from := o
		from.Name = in + old
		err = d.identity.Moved(ctx, from, o)
	} else {
		err = d.identity.Gone(ctx, o)
	}
	if err != nil {
		slog.Error("Permissions do not follow their object", "object", source, "err", err)
	}
}

// objects are what permissions can be about.
type objects struct{ d *Daemon }

var kindsOf = map[access.Entity]project.Kind{
	access.Image: project.Images, access.ImageAlias: project.Images, access.Profile: project.Profiles, access.Network: project.Networks,
	access.StorageVolume: project.Volumes,
}

// Home implements identity.Objects.
func (o objects) Home(object access.Object) access.Object {
	kind, ok := kindsOf[object.Entity]
	if ok && (object.Entity != access.StorageVolume || strings.Contains(object.Name, "/custom/")) {
		object.Project = o.d.projects.Effective(kind, object.Project)
	}
	return object
}

// Find implements identity.Objects.
func (o objects) Find(object access.Object) (uuid string, ok bool) {
	r, ctx, in, name := &o.d.resources, context.Background(), object.Project, object.Name
	var err error
	switch object.Entity {
	case access.Project:
		err = o.d.projects.Check(name)
	case access.Instance:
		return r.instances.UUID(in, name)
	case access.Image:
		var img *api.Image
		if img, _, err = r.images.Get(ctx, in, name); err == nil && img.Fingerprint != name {
			return "", false // the beginning of a fingerprint may be that of another later
		}
	case access.ImageAlias:
		_, _, err = r.images.Alias(ctx, in, name, false)
	case access.Profile:
		_, _, err = r.profiles.Get(ctx, in, name)
	case access.Network:
		return r.networks.UUID(in, name)
	case access.StoragePool:
		_, _, err = r.storage.Pool(name)
	case access.StorageVolume:
		v := volumeOf(object)
		if v.Type == storage.VolumeContainer || v.Type == storage.VolumeVM { // it goes with its instance
			return r.instances.UUID(in, v.Name)
		}
		return r.storage.UUID(v)
	case access.Certificate:
		return "", o.d.certs.Has(name)
	default:
		return "", false
	}
	return "", err == nil
}

func volumeOf(o access.Object) storage.VolumeID {
	parts := strings.SplitN(o.Name, "/", 3)
	if len(parts) < 3 {
		return storage.VolumeID{}
	}
	return storage.VolumeID{Pool: parts[0], Project: o.Project, Type: storage.VolumeType(parts[1]), Name: parts[2]}
}

// List implements identity.Objects.
func (o objects) List(kind access.Entity) []access.Object {
	r, ctx := &o.d.resources, context.Background()
	var all []access.Object
	add := func(in, name string) { all = append(all, access.Object{Entity: kind, Project: in, Name: name}) }
	switch kind {
	case access.Project:
		for _, name := range o.d.projects.Names() {
			add("", name)
		}
		return all
	case access.Instance:
		r.instances.Names(ctx, "", func(api.InstanceType) bool { return true }, add)
		return all
	case access.StoragePool:
		for _, name := range r.storage.Pools() {
			add("", name)
		}
		return all
	case access.StorageVolume:
		for _, pool := range r.storage.Pools() {
			volumes, _ := r.storage.VolumeList(pool, "", "") // a pool that has just gone has none
			for _, v := range volumes {
				if !strings.Contains(v.Name, "/") && v.Type != string(storage.VolumeImage) {
					add(v.Project, access.VolumeName(pool, v.Type, v.Name))
				}
			}
		}
		return all
	case access.Certificate:
		for _, c := range o.d.certs.List(ctx, nil) {
			add("", c.Fingerprint)
		}
		return all
	}
	for _, in := range o.d.projects.Names() {
		if o.d.projects.Effective(kindsOf[kind], in) == in {
			o.listIn(kind, in, add)
		}
	}
	return all
}

// listIn lists what a project has of its own.
func (o objects) listIn(kind access.Entity, in string, add func(in, name string)) {
	r, ctx := &o.d.resources, context.Background()
	switch kind {
	case access.Image:
		for _, img := range r.images.List(ctx, in, false) {
			add(in, img.Fingerprint)
		}
	case access.ImageAlias:
		for _, alias := range r.images.Aliases(ctx, in, false) {
			add(in, alias.Name)
		}
	case access.Profile:
		for _, name := range r.profiles.Names(in) {
			add(in, name)
		}
	case access.Network:
		for _, name := range r.networks.Managed(in) {
			add(in, name)
		}
	}
}
