package server

import (
	"cmp"
	"encoding/json"
	"sort"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/storage"
)

type storageVolumesAPI struct{ svc *storage.Service }

func (a storageVolumesAPI) routes() []Route {
	const volumes = "/1.0/storage-pools/{pool}/volumes"
	const volume = volumes + "/{type}/{name}"
	const snapshot = volume + "/snapshots/{snapshot}"
	list := Need{May: access.CanViewVolumes, On: access.StorageVolume, Lists: true, Rows: true}
	create := amid(access.StorageVolume, access.CanCreateVolumes)
	view, edit := on(access.StorageVolume, "name", access.CanView), on(access.StorageVolume, "name", access.CanEdit)
	snap := on(access.StorageVolume, "name", access.CanManageSnapshots)
	return []Route{
		{Method: "GET", Path: volumes, Need: list, Handle: a.list},
		{Method: "POST", Path: volumes, Need: create, Handle: a.create},
		{Method: "GET", Path: volumes + "/{type}", Need: list, Handle: a.list},
		{Method: "POST", Path: volumes + "/{type}", Need: create, Handle: a.create},
		{Method: "GET", Path: volume, Need: view, Handle: a.get},
		{Method: "PUT", Path: volume, Need: edit, Handle: a.update},
		{Method: "PATCH", Path: volume, Need: edit, Handle: a.update},
		{Method: "POST", Path: volume, Need: edit, Handle: a.rename},
		{Method: "DELETE", Path: volume, Need: on(access.StorageVolume, "name", access.CanDelete), Handle: a.delete},
		{Method: "GET", Path: volume + "/state", Need: view, Handle: a.state},
		{Method: "GET", Path: volume + "/snapshots", Need: view, Handle: a.snapshots},
		{Method: "POST", Path: volume + "/snapshots", Need: snap, Handle: a.createSnapshot},
		{Method: "GET", Path: snapshot, Need: view, Handle: a.getSnapshot},
		{Method: "PUT", Path: snapshot, Need: snap, Handle: a.updateSnapshot},
		{Method: "PATCH", Path: snapshot, Need: snap, Handle: a.updateSnapshot},
		{Method: "POST", Path: snapshot, Need: snap, Handle: a.renameSnapshot},
		{Method: "DELETE", Path: snapshot, Need: snap, Handle: a.deleteSnapshot},
	}
}

// volumeID is the volume, or snapshot of one, that a call names.
func (a storageVolumesAPI) volumeID(r *Request) (storage.VolumeID, error) {
	kind, err := storage.ParseVolumeType(r.Var("type"))
	return a.svc.ID(r.Var("pool"), r.Project(), kind, r.Var("name"), r.Var("snapshot")), err
}

func volumeURL(pool string, v api.StorageVolume) string {
	name, snapshot, _ := strings.Cut(v.Name, "/")
	return storage.VolumeID{Pool: pool, Project: v.Project, Type: storage.VolumeType(v.Type), Name: name, Snapshot: snapshot}.URL()
}

func (a storageVolumesAPI) list(r *Request) Response {
	var kind storage.VolumeType
	if r.Var("type") != "" {
		var err error
		if kind, err = storage.ParseVolumeType(r.Var("type")); err != nil {
			return Fail(err)
		}
	}
	project := r.Project()
	if r.AllProjects() {
		project = ""
	}
	clauses, err := r.Filter()
	if err != nil {
		return Fail(err)
	}
	all, err := a.svc.VolumeList(r.Var("pool"), project, kind)
	if err != nil {
		return Fail(err)
	}
	var sees func(project, name string) bool
	if project == "" || r.guarded() {
		sees = r.viewer(access.StorageVolume)
	}
	some := project != "" && !r.caller.May(access.CanViewVolumes, access.InProject(project))
	volumes, urls := []api.StorageVolume{}, []string{}
	for _, v := range all {
		// A list of one project also has what it shares, and copies of images, which are of none.
		name, _, _ := strings.Cut(v.Name, "/")
		if sees != nil && (project == "" || some || v.Type == "image") && !sees(v.Project, access.VolumeName(r.Var("pool"), v.Type, name)) {
			continue
		}
		v.UsedBy = r.usedBy(v.UsedBy)
		if clauses.Match(v) {
			volumes = append(volumes, v)
			urls = append(urls, volumeURL(r.Var("pool"), v))
		}
	}
	if r.Recursion() == 0 {
		return Sync(urls)
	}
	return Sync(volumes)
}

func (a storageVolumesAPI) create(r *Request) Response {
	var req api.StorageVolumesPost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	if kind := r.Var("type"); kind != "" {
		req.Type = kind
	}
	if err := a.mayCopy(r, req.Source); err != nil {
		return Fail(err)
	}
	task, err := a.svc.CreateVolume(r.Context(), r.Var("pool"), r.Project(), req)
	switch {
	case err != nil:
		return Fail(err)
	case task != nil:
		return Async(task)
	}
	return Empty()
}

// mayCopy refuses a source that the caller may not have, before it is looked for.
func (a storageVolumesAPI) mayCopy(r *Request, from api.StorageVolumeSource) error {
	pool := cmp.Or(from.Pool, r.Var("pool"))
	of := from.Project
	if of == "" {
		of = r.Project()
	}
	name, _, _ := strings.Cut(from.Name, "/")
	if name == "" || r.caller.May(access.CanManageBackups, access.Object{Entity: access.StorageVolume, Project: of, Name: access.VolumeName(pool, "custom", name)}) {
		return nil
	}
	return request.ErrNotAuthorized
}

func (a storageVolumesAPI) get(r *Request) Response {
	id, err := a.volumeID(r)
	if err != nil {
		return Fail(err)
	}
	v, rev, err := a.svc.Volume(id)
	if err != nil {
		return Fail(err)
	}
	v.UsedBy = r.usedBy(v.UsedBy)
	return SyncETag(v, ETag(rev))
}

func (a storageVolumesAPI) update(r *Request) Response {
	id, err := a.volumeID(r)
	if err != nil {
		return Fail(err)
	}
	var put api.StorageVolumePut
	if err := r.Decode(&put); err != nil {
		return Fail(err)
	}
	if err := a.svc.UpdateVolume(r.Context(), id, put, r.Method == "PATCH", ifMatch(r)); err != nil {
		return Fail(err)
	}
	return Empty()
}

func (a storageVolumesAPI) rename(r *Request) Response {
	id, err := a.volumeID(r)
	if err != nil {
		return Fail(err)
	}
	var req api.StorageVolumePost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	if req.Migration {
		return Fail(api.BadRequest("Moving storage volumes between servers is not supported"))
	}
	if err := r.requireIn(req.Project, amid(access.StorageVolume, access.CanCreateVolumes)); err != nil {
		return Fail(err)
	}
	to := id
	to.Name = req.Name
	if req.Pool != "" {
		to.Pool = req.Pool
	}
	project := cmp.Or(req.Project, r.Project())
	to = a.svc.ID(to.Pool, project, to.Type, to.Name, "")
	if to.Pool != id.Pool || to.Project != id.Project {
		to.Project = project
		task, err := a.svc.MoveVolume(id, to)
		if err != nil {
			return Fail(err)
		}
		return Async(task)
	}
	if err := a.svc.RenameVolume(r.Context(), id, req.Name); err != nil {
		return Fail(err)
	}
	return Created(to.URL())
}

func (a storageVolumesAPI) delete(r *Request) Response {
	id, err := a.volumeID(r)
	if err != nil {
		return Fail(err)
	}
	if err := a.svc.DeleteVolume(r.Context(), id); err != nil {
		return Fail(err)
	}
	return Empty()
}

func (a storageVolumesAPI) state(r *Request) Response {
	id, err := a.volumeID(r)
	if err != nil {
		return Fail(err)
	}
	state, err := a.svc.VolumeUsage(r.Context(), id)
	if err != nil {
		return Fail(err)
	}
	return Sync(state)
}

func (a storageVolumesAPI) snapshots(r *Request) Response {
	id, err := a.volumeID(r)
	if err != nil {
		return Fail(err)
	}
	list, err := a.svc.VolumeSnapshots(id)
	if err != nil {
		return Fail(err)
	}
	if r.Recursion() > 0 {
		return Sync(list)
	}
	urls := []string{}
	for _, snap := range list {
		_, name, _ := strings.Cut(snap.Name, "/")
		// LXD's list of them names no project.
		urls = append(urls, project.URL("", "storage-pools", id.Pool, "volumes", string(id.Type), id.Name, "snapshots", name))
	}
	sort.Strings(urls)
	return Sync(urls)
}

func (a storageVolumesAPI) createSnapshot(r *Request) Response {
	id, err := a.volumeID(r)
	if err != nil {
		return Fail(err)
	}
	var req api.StorageVolumeSnapshotsPost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	task, err := a.svc.CreateVolumeSnapshot(id, req)
	if err != nil {
		return Fail(err)
	}
	return Async(task)
}

func (a storageVolumesAPI) getSnapshot(r *Request) Response {
	id, err := a.volumeID(r)
	if err != nil {
		return Fail(err)
	}
	snap, rev, err := a.svc.VolumeSnapshot(id)
	if err != nil {
		return Fail(err)
	}
	return SyncETag(snap, ETag(rev))
}

func (a storageVolumesAPI) updateSnapshot(r *Request) Response {
	id, err := a.volumeID(r)
	if err != nil {
		return Fail(err)
	}
	var body json.RawMessage // read as a whole before anything is held: a client takes its time
	if err := r.Decode(&body); err != nil {
		return Fail(err)
	}
	edit := func(put *api.StorageVolumeSnapshotPut) error {
		if r.Method != "PATCH" { // there, what is not given stays
			*put = api.StorageVolumeSnapshotPut{}
		}
		if err := json.Unmarshal(body, put); err != nil {
			return api.BadRequest("%w", err)
		}
		return nil
	}
	if err := a.svc.UpdateVolumeSnapshot(r.Context(), id, edit, ifMatch(r)); err != nil {
		return Fail(err)
	}
	return Empty()
}

func (a storageVolumesAPI) renameSnapshot(r *Request) Response {
	id, err := a.volumeID(r)
	if err != nil {
		return Fail(err)
	}
	var req api.StorageVolumeSnapshotPost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	task, err := a.svc.RenameVolumeSnapshot(id, req.Name)
	if err != nil {
		return Fail(err)
	}
	return Async(task)
}

func (a storageVolumesAPI) deleteSnapshot(r *Request) Response {
	id, err := a.volumeID(r)
	if err != nil {
		return Fail(err)
	}
	task, err := a.svc.DeleteVolumeSnapshot(id)
	if err != nil {
		return Fail(err)
	}
	return Async(task)
}
