package files

import (
	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/securefs"
	"github.com/berthd/berth/internal/spec"
)

// nobody is what the kernel shows for an ID that the map does not have.
const nobody = 65534

// inside turns an ID as it appears on the host into the instance's own.
func inside(ids []spec.IDMapEntry, id int, group bool) int {
	if len(ids) == 0 {
		return id
	}
	for _, e := range ids {
		if covers(e, group) && int64(id) >= e.HostID && int64(id) < e.HostID+e.Count {
			return int(int64(id) - e.HostID + e.NSID)
		}
	}
	return nobody
}

// mapped tells whether an ID of the host is one of the instance's.
func mapped(ids []spec.IDMapEntry, id int, group bool) bool {
	for _, e := range ids {
		if covers(e, group) && int64(id) >= e.HostID && int64(id) < e.HostID+e.Count {
			return true
		}
	}
	return false
}

// outside turns an ID of the instance into that of the host; -1 if the map does not have it.
func outside(ids []spec.IDMapEntry, id int64, group bool) int {
	if len(ids) == 0 {
		return int(id)
	}
	for _, e := range ids {
		if covers(e, group) && id >= e.NSID && id < e.NSID+e.Count {
			return int(id - e.NSID + e.HostID)
		}
	}
	return -1
}

func covers(e spec.IDMapEntry, group bool) bool {
	if group {
		return e.GID
	}
	return e.UID
}

// owner is who is to own a new object, in IDs of the host.
func (r *root) owner(p Put) (securefs.Owner, error) {
	uid, err := r.id("uid", p.UID, false)
	if err != nil {
		return securefs.Owner{}, err
	}
	gid, err := r.id("gid", p.GID, true)
	return securefs.Owner{UID: uid, GID: gid}, err
}

func (r *root) id(what string, given *int64, group bool) (int, error) {
	var id int64
	if given != nil {
		id = *given
	}
	host := outside(r.ids, id, group)
	if id < 0 || id >= 1<<32-1 || host < 0 {
		return 0, api.BadRequest("Invalid %s %d: not one of the instance's", what, id)
	}
	return host, nil
}
