package api

// Methods by which identities authenticate, as /1.0/auth/identities/{method} names them.
const (
	AuthTLS  = "tls"
	AuthOIDC = "oidc"
)

// Types of identities, by LXD 6's names.
const (
	IdentityClient              = "Client certificate" // its rights come of groups
	IdentityClientPending       = "Client certificate (pending)"
	IdentityClientRestricted    = "Client certificate (restricted)"
	IdentityClientUnrestricted  = "Client certificate (unrestricted)"
	IdentityMetricsUnrestricted = "Metrics certificate (unrestricted)"
	IdentityOIDC                = "OIDC client"
)

// Permission is an entitlement on one object.
type Permission struct {
	EntityType      string `json:"entity_type" yaml:"entity_type"` // instance
	EntityReference string `json:"url" yaml:"url"`                 // /1.0/instances/c1?project=default
	Entitlement     string `json:"entitlement" yaml:"entitlement"` // can_view
}

// PermissionInfo is a permission with the groups that have it.
type PermissionInfo struct {
	Permission `yaml:",inline"`
	Groups     []string `json:"groups" yaml:"groups"`
}

// AuthGroupPut is the part of a group that PUT and PATCH change.
type AuthGroupPut struct {
	Description string       `json:"description" yaml:"description"`
	Permissions []Permission `json:"permissions" yaml:"permissions"`
}

// AuthGroupsPost asks for a new group.
type AuthGroupsPost struct {
	AuthGroupPut `yaml:",inline"`
	Name         string `json:"name" yaml:"name"`
}

// AuthGroupPost renames a group.
type AuthGroupPost struct {
	Name string `json:"name" yaml:"name"`
}

// AuthGroup is what GET /1.0/auth/groups/<name> shows.
type AuthGroup struct {
	Name                   string              `json:"name" yaml:"name"`
	Description            string              `json:"description" yaml:"description"`
	Permissions            []Permission        `json:"permissions" yaml:"permissions"`
	Identities             map[string][]string `json:"identities" yaml:"identities"` // identifiers by method
	IdentityProviderGroups []string            `json:"identity_provider_groups" yaml:"identity_provider_groups"`
}

// Identity is somebody who may be authenticated.
type Identity struct {
	AuthenticationMethod string   `json:"authentication_method" yaml:"authentication_method"`
	Type                 string   `json:"type" yaml:"type"`
	Identifier           string   `json:"id" yaml:"id"` // fingerprint of a certificate, or address of e-mail
	Name                 string   `json:"name" yaml:"name"`
	Groups               []string `json:"groups" yaml:"groups"`
	TLSCertificate       string   `json:"tls_certificate" yaml:"tls_certificate"` // PEM; of method tls alone
}

// IdentityInfo is the identity of whoever asks, with what it may do.
type IdentityInfo struct {
	Identity             `yaml:",inline"`
	EffectiveGroups      []string     `json:"effective_groups" yaml:"effective_groups"` // with those by groups of the identity provider
	EffectivePermissions []Permission `json:"effective_permissions" yaml:"effective_permissions"`
	FineGrained          bool         `json:"fine_grained" yaml:"fine_grained"` // its rights come of groups
}

// IdentityPut is the part of an identity that PUT and PATCH change.
type IdentityPut struct {
	Groups         []string `json:"groups" yaml:"groups"`
	TLSCertificate string   `json:"tls_certificate" yaml:"tls_certificate"` // PEM, or the base64 of DER
}

// IdentitiesTLSPost asks for an identity by certificate: for the one given, or with Token for whoever shows a token, once. TrustToken is that
// token, from a caller who is not trusted yet.
type IdentitiesTLSPost struct {
	Name        string   `json:"name" yaml:"name"`
	Token       bool     `json:"token" yaml:"token"`
	TrustToken  string   `json:"trust_token" yaml:"trust_token"`
	Certificate string   `json:"certificate" yaml:"certificate"`
	Groups      []string `json:"groups" yaml:"groups"`
}

// IdentityProviderGroupPut is the part of a mapping that PUT and PATCH change.
type IdentityProviderGroupPut struct {
	Groups []string `json:"groups" yaml:"groups"`
}

// IdentityProviderGroupPost renames a mapping.
type IdentityProviderGroupPost struct {
	Name string `json:"name" yaml:"name"`
}

// IdentityProviderGroup maps a group that an identity provider knows to groups of the server.
type IdentityProviderGroup struct {
	Name   string   `json:"name" yaml:"name"`
	Groups []string `json:"groups" yaml:"groups"`
}
