package access

import "slices"

// catalogue is what can be granted on each kind of object: LXD 6's entitlements, without those on what Berth does not have.
var catalogue = map[Entity][]Entitlement{
	Server: append([]Entitlement{Admin, Viewer, CanEdit, PermissionManager, CanViewPermissions},
		slices.Concat(four("identities"), four("groups"), four("identity_provider_groups"),
			[]Entitlement{PoolManager, CanCreatePools, "can_edit_storage_pools", "can_delete_storage_pools", ProjectManager}, four("projects"),
			[]Entitlement{CanViewEvents, CanViewOperations, CanViewResources, CanViewMetrics, CanViewWarnings, CanViewUnmanaged})...),
	Project: slices.Concat([]Entitlement{Operator, Viewer, CanView, CanEdit, CanDelete},
		managers(Image), managers(ImageAlias), managers(Instance), []Entitlement{CanOperate}, managers(Network), managers(Profile), managers(StorageVolume),
		[]Entitlement{CanViewOperations, CanViewEvents, CanViewMetrics}),
	Instance:              slices.Concat([]Entitlement{User, Operator, CanEdit, CanDelete, CanView, CanUpdateState, CanManageSnapshots, CanManageBackups}, users),
	StorageVolume:         {CanEdit, CanDelete, CanView, CanManageSnapshots, CanManageBackups},
	Image:                 {CanEdit, CanDelete, CanView},
	ImageAlias:            {CanEdit, CanDelete, CanView},
	Profile:               {CanEdit, CanDelete, CanView},
	Network:               {CanEdit, CanDelete, CanView},
	StoragePool:           {CanEdit, CanDelete},
	Certificate:           {CanView, CanEdit, CanDelete},
	Identity:              {CanView, CanEdit, CanDelete},
	Group:                 {CanView, CanEdit, CanDelete},
	IdentityProviderGroup: {CanView, CanEdit, CanDelete},
}

// four are the entitlements on what holds objects of a kind.
func four(plural string) []Entitlement {
	return []Entitlement{
		Entitlement("can_create_" + plural), Entitlement("can_view_" + plural), Entitlement("can_edit_" + plural), Entitlement("can_delete_" + plural),
	}
}

func managers(kind Entity) []Entitlement {
	return append([]Entitlement{Entitlement(string(kind) + "_manager")}, four(plurals[kind])...)
}

// Entities are the kinds of objects on which something can be granted, by name.
func Entities() []Entity {
	kinds := make([]Entity, 0, len(catalogue))
	for kind := range catalogue {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}

// Entitlements are those that can be granted on a kind of object, in the order of LXD's documentation.
func Entitlements(kind Entity) []Entitlement { return slices.Clone(catalogue[kind]) }

// Grants tells whether an entitlement can be granted on a kind of object.
func Grants(kind Entity, e Entitlement) bool { return slices.Contains(catalogue[kind], e) }
