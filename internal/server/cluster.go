package server

import (
	"errors"

	"github.com/berthd/berth/api"
)

// clusterRoutes answer for a machine that is on its own.
func clusterRoutes() []Route {
	alone := api.Cluster{MemberConfig: []api.ClusterMemberConfigKey{}}
	refuse := func(*Request) Response { return Fail(errNotClustered) }
	return []Route{
		{Method: "GET", Path: "/1.0/cluster", Need: AnyoneTrusted, Handle: func(*Request) Response { return SyncETag(alone, contentETag(alone)) }},
		{Method: "GET", Path: "/1.0/cluster/members", Need: AnyoneTrusted, Handle: refuse},
		{Method: "GET", Path: "/1.0/cluster/members/{name}", Need: AnyoneTrusted, Handle: refuse},
		{Method: "GET", Path: "/1.0/cluster/groups", Need: AnyoneTrusted, Handle: refuse},
	}
}

var errNotClustered = errors.New("Server is not clustered")
