package access

import (
	"slices"
	"strings"
)

// Entitlement is something that may be done, by LXD 6's name for it.
type Entitlement string

// Entitlements on a server.
const (
	Admin               Entitlement = "admin"
	ProjectManager      Entitlement = "project_manager"
	CanCreateProjects   Entitlement = "can_create_projects"
	PoolManager         Entitlement = "storage_pool_manager"
	CanCreatePools      Entitlement = "can_create_storage_pools"
	CanViewResources    Entitlement = "can_view_resources"
	CanViewMetrics      Entitlement = "can_view_metrics" // also on a project
	CanViewWarnings     Entitlement = "can_view_warnings"
	PermissionManager   Entitlement = "permission_manager"
	CanViewPermissions  Entitlement = "can_view_permissions"
	CanCreateIdentities Entitlement = "can_create_identities"
	CanViewIdentities   Entitlement = "can_view_identities"
	CanCreateGroups     Entitlement = "can_create_groups"
	CanEditGroups       Entitlement = "can_edit_groups"
	CanCreateIdPGroups  Entitlement = "can_create_identity_provider_groups"
	CanViewUnmanaged    Entitlement = "can_view_unmanaged_networks"
)

// Entitlements on a project. Each kind of object in it has four more, such as can_edit_instances, and a manager's role.
const (
	Operator          Entitlement = "operator"            // all but to change the project itself; also on an instance
	CanViewOperations Entitlement = "can_view_operations" // also on a server, for those of no project
	CanViewEvents     Entitlement = "can_view_events"     // also on a server: the daemon's log, and what is of no project

	CanCreateInstances Entitlement = "can_create_instances"
	CanViewInstances   Entitlement = "can_view_instances"
	CanOperate         Entitlement = "can_operate_instances"
	CanCreateImages    Entitlement = "can_create_images"
	CanViewImages      Entitlement = "can_view_images"
	CanCreateAliases   Entitlement = "can_create_image_aliases"
	CanViewAliases     Entitlement = "can_view_image_aliases"
	CanCreateProfiles  Entitlement = "can_create_profiles"
	CanViewProfiles    Entitlement = "can_view_profiles"
	CanCreateNetworks  Entitlement = "can_create_networks"
	CanViewNetworks    Entitlement = "can_view_networks"
	CanCreateVolumes   Entitlement = "can_create_storage_volumes"
	CanViewVolumes     Entitlement = "can_view_storage_volumes"
)

// Entitlements on objects of several kinds.
const (
	Viewer    Entitlement = "viewer" // also on a server and a project: to see all in it
	CanView   Entitlement = "can_view"
	CanEdit   Entitlement = "can_edit"
	CanDelete Entitlement = "can_delete"

	CanManageSnapshots Entitlement = "can_manage_snapshots" // of instances and volumes
	CanManageBackups   Entitlement = "can_manage_backups"
)

// Entitlements on an instance.
const (
	User           Entitlement = "user"
	CanUpdateState Entitlement = "can_update_state"
	CanExec        Entitlement = "can_exec"
	CanAccessFiles Entitlement = "can_access_files"
	CanUseConsole  Entitlement = "can_access_console"
	CanConnectSFTP Entitlement = "can_connect_sftp"
)

// Two that LXD 6 has no name for. Authenticated is what everybody who is trusted may do: to see what server this is. CanRenew is to put another
// certificate in the place of one's own, and nothing else about it.
const (
	Authenticated Entitlement = "authenticated"
	CanRenew      Entitlement = "can_renew"
)

// plurals are the kinds that a project holds, as its entitlements name them.
var plurals = map[Entity]string{
	Instance: "instances", Image: "images", ImageAlias: "image_aliases", Profile: "profiles", Network: "networks", StorageVolume: "storage_volumes",
}

// roles on an instance, and what each is made of.
var (
	users     = []Entitlement{CanExec, CanAccessFiles, CanUseConsole, CanConnectSFTP}
	operators = append(slices.Clone(users), CanUpdateState, CanManageSnapshots, CanManageBackups)
)

// View tells whether an entitlement is to see something, and changes nothing.
func (e Entitlement) View() bool {
	return e == Authenticated || e == CanView || strings.HasPrefix(string(e), "can_view_")
}

// implies tells whether a grant covers an entitlement on an object.
func (g Grant) implies(want Entitlement, o Object) bool {
	switch {
	case g.Entity == Server:
		return g.onServer(want, o)
	case g.Entity == o.Entity && g.Object == o:
		return g.onItself(want)
	case g.Entity == Project && o.Project == g.Name && plurals[o.Entity] != "":
		return g.onContent(want, o.Entity)
	}
	return false
}

func (g Grant) onServer(want Entitlement, o Object) bool {
	switch {
	case g.Entitlement == Admin:
		return true
	case g.Entitlement == Viewer && (want.View() || want == Viewer):
		return true
	}
	switch o.Entity {
	case Server:
		return want == g.Entitlement || g.expands(want)
	case StoragePool:
		return g.managed(want, "storage_pools", PoolManager)
	case Identity, Certificate:
		return g.managed(want, "identities", PermissionManager)
	case Group:
		return g.managed(want, "groups", PermissionManager)
	case IdentityProviderGroup:
		return g.managed(want, "identity_provider_groups", PermissionManager)
	case Project:
		return g.managed(want, "projects", ProjectManager) || g.onAllProjects(want) || g.Entitlement == want && want == CanViewMetrics
	case Network:
		if o.Project == Unmanaged {
			return want == CanView && g.Entitlement == CanViewUnmanaged
		}
	}
	return plurals[o.Entity] != "" && g.onAllProjects(want)
}

// Unmanaged is where the interfaces of the host are, which are networks of no project.
const Unmanaged = ""

// onAllProjects tells whether a grant about projects in general covers an entitlement on what is in one.
func (g Grant) onAllProjects(want Entitlement) bool {
	switch g.Entitlement {
	case ProjectManager:
		return true
	case "can_view_projects":
		return want.View()
	case "can_edit_projects":
		return want.View() || want == CanEdit
	}
	return false
}

// serverRoles are the roles on a server, with what of it their entitlements end in.
var serverRoles = map[Entitlement][]string{
	ProjectManager:    {"_projects"},
	PoolManager:       {"_storage_pools"},
	PermissionManager: {"_permissions", "_identities", "_groups", "_identity_provider_groups"},
}

// expands tells whether a role on a server has an entitlement on it.
func (g Grant) expands(want Entitlement) bool {
	return slices.ContainsFunc(serverRoles[g.Entitlement], func(suffix string) bool { return strings.HasSuffix(string(want), suffix) })
}

// managed tells whether a grant on what holds objects of a kind covers an entitlement on one of them: can_edit_images is can_edit of each.
func (g Grant) managed(want Entitlement, plural string, manager Entitlement) bool {
	if g.Entitlement == manager {
		return true
	}
	verb, ok := strings.CutSuffix(string(g.Entitlement), "_"+plural)
	if !ok || verb == "can_create" {
		return false
	}
	return want == Entitlement(verb) || want == CanView || verb == "can_edit" && want == CanRenew
}

func (g Grant) onContent(want Entitlement, kind Entity) bool {
	switch g.Entitlement {
	case Operator:
		return true
	case Viewer:
		return want.View()
	case CanOperate:
		return kind == Instance && (want == CanView || slices.Contains(operators, want))
	}
	return g.managed(want, plurals[kind], Entitlement(string(kind)+"_manager"))
}

// onItself tells whether a grant covers an entitlement on the very object. Whoever may do anything with it may see it.
func (g Grant) onItself(want Entitlement) bool {
	switch {
	case want == g.Entitlement, want == CanView:
		return true
	case g.Entitlement == CanEdit && want == CanRenew:
		return true
	case g.Entity == Project:
		return g.onProject(want)
	case g.Entity != Instance:
		return false
	}
	return g.Entitlement == User && slices.Contains(users, want) || g.Entitlement == Operator && slices.Contains(operators, want)
}

func (g Grant) onProject(want Entitlement) bool {
	switch g.Entitlement {
	case Operator:
		return want != CanEdit && want != CanDelete
	case Viewer:
		return want.View()
	}
	for kind, plural := range plurals {
		if g.Entitlement == Entitlement(string(kind)+"_manager") {
			return strings.HasSuffix(string(want), "_"+plural)
		}
	}
	return false
}
