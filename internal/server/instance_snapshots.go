package server

import (
	"path"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/project"
)

func (a instancesAPI) snapshotRoutes(add func(method, path string, need Need, handle func(*Request) Response)) {
	add("GET", "/{name}/snapshots", ofInstance(access.CanView), a.snapshots)
	add("POST", "/{name}/snapshots", ofInstance(access.CanManageSnapshots), a.createSnapshot)
	add("GET", "/{name}/snapshots/{snapshot}", ofInstance(access.CanView), a.snapshot)
	add("PUT", "/{name}/snapshots/{snapshot}", ofInstance(access.CanManageSnapshots), a.updateSnapshot)
	add("PATCH", "/{name}/snapshots/{snapshot}", ofInstance(access.CanManageSnapshots), a.updateSnapshot)
	add("POST", "/{name}/snapshots/{snapshot}", ofInstance(access.CanManageSnapshots), a.renameSnapshot)
	add("DELETE", "/{name}/snapshots/{snapshot}", ofInstance(access.CanManageSnapshots), a.deleteSnapshot)
}

func (a instancesAPI) snapshots(r *Request) Response {
	list, err := a.svc.Snapshots(r.Context(), r.Project(), r.Var("name"))
	if err != nil {
		return Fail(err)
	}
	if r.Recursion() > 0 {
		return Sync(list)
	}
	urls := []string{}
	for _, snap := range list {
		urls = append(urls, project.URL(r.Project(), path.Base(collection(r)), r.Var("name"), "snapshots", snap.Name))
	}
	return Sync(urls)
}

func (a instancesAPI) createSnapshot(r *Request) Response {
	var req api.InstanceSnapshotsPost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	task, err := a.svc.CreateSnapshot(r.Context(), r.Project(), r.Var("name"), req)
	if err != nil {
		return Fail(err)
	}
	return Async(task)
}

func (a instancesAPI) snapshot(r *Request) Response {
	snap, rev, err := a.svc.Snapshot(r.Context(), r.Project(), r.Var("name"), r.Var("snapshot"))
	if err != nil {
		return Fail(err)
	}
	return SyncETag(snap, ETag(rev))
}

func (a instancesAPI) updateSnapshot(r *Request) Response {
	snap, _, err := a.svc.Snapshot(r.Context(), r.Project(), r.Var("name"), r.Var("snapshot"))
	if err != nil {
		return Fail(err)
	}
	var req api.InstanceSnapshotPut
	if r.Method == "PATCH" {
		req = snap.InstanceSnapshotPut
	}
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	task, err := a.svc.UpdateSnapshot(r.Context(), r.Project(), r.Var("name"), r.Var("snapshot"), req, ifMatch(r))
	if err != nil {
		return Fail(err)
	}
	return Async(task)
}

func (a instancesAPI) renameSnapshot(r *Request) Response {
	var req api.InstanceSnapshotPost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	task, err := a.svc.RenameSnapshot(r.Context(), r.Project(), r.Var("name"), r.Var("snapshot"), req)
	if err != nil {
		return Fail(err)
	}
	return Async(task)
}

func (a instancesAPI) deleteSnapshot(r *Request) Response {
	task, err := a.svc.DeleteSnapshot(r.Context(), r.Project(), r.Var("name"), r.Var("snapshot"))
	if err != nil {
		return Fail(err)
	}
	return Async(task)
}
