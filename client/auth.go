package client

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/berthd/berth/api"
)

// AuthGroups lists the groups by which identities have rights.
func (c *Client) AuthGroups() ([]api.AuthGroup, error) {
	return list[api.AuthGroup](c, pathOf("auth", "groups")+"?recursion=1")
}

// AuthGroup fetches one group.
func (c *Client) AuthGroup(name string) (*api.AuthGroup, string, error) {
	return get[api.AuthGroup](c, pathOf("auth", "groups", name))
}

// CreateAuthGroup makes a group.
func (c *Client) CreateAuthGroup(post api.AuthGroupsPost) error {
	return c.send(http.MethodPost, pathOf("auth", "groups"), post, "")
}

// UpdateAuthGroup replaces what can be changed of a group.
func (c *Client) UpdateAuthGroup(name string, put api.AuthGroupPut, etag string) error {
	return c.send(http.MethodPut, pathOf("auth", "groups", name), put, etag)
}

// RenameAuthGroup renames a group.
func (c *Client) RenameAuthGroup(name, to string) error {
	return c.send(http.MethodPost, pathOf("auth", "groups", name), api.AuthGroupPost{Name: to}, "")
}

// DeleteAuthGroup deletes a group.
func (c *Client) DeleteAuthGroup(name string) error {
	return c.send(http.MethodDelete, pathOf("auth", "groups", name), nil, "")
}

// Identities lists those who may be authenticated.
func (c *Client) Identities() ([]api.Identity, error) {
	return list[api.Identity](c, pathOf("auth", "identities")+"?recursion=1")
}

// Identity fetches one identity by its method and its identifier or name.
func (c *Client) Identity(method, id string) (*api.Identity, string, error) {
	return get[api.Identity](c, pathOf("auth", "identities", method, id))
}

// CurrentIdentity is the identity that the server knows the client by.
func (c *Client) CurrentIdentity() (*api.IdentityInfo, error) {
	info, _, err := get[api.IdentityInfo](c, pathOf("auth", "identities", "current"))
	return info, err
}

// CreateIdentityTLS makes an identity by a certificate, or redeems the token of one.
func (c *Client) CreateIdentityTLS(post api.IdentitiesTLSPost) error {
	return c.send(http.MethodPost, pathOf("auth", "identities", "tls"), post, "")
}

// CreateIdentityTLSToken makes an identity for whoever shows the token, once.
func (c *Client) CreateIdentityTLSToken(post api.IdentitiesTLSPost) (*api.CertificateAddToken, error) {
	post.Token = true
	var token api.CertificateAddToken
	_, err := c.Query(http.MethodPost, pathOf("auth", "identities", "tls"), post, "", &token)
	return &token, err
}

// UpdateIdentity replaces what can be changed of an identity.
func (c *Client) UpdateIdentity(method, id string, put api.IdentityPut, etag string) error {
	return c.send(http.MethodPut, pathOf("auth", "identities", method, id), put, etag)
}

// DeleteIdentity deletes an identity.
func (c *Client) DeleteIdentity(method, id string) error {
	return c.send(http.MethodDelete, pathOf("auth", "identities", method, id), nil, "")
}

// Permissions lists what can be granted, with the groups that have it: on objects of a type, and of a project; "" is of all.
func (c *Client) Permissions(entityType, project string) ([]api.PermissionInfo, error) {
	q := url.Values{"recursion": {"1"}}
	for key, value := range map[string]string{"entity-type": entityType, "project": project} {
		if value != "" {
			q.Set(key, value)
		}
	}
	return list[api.PermissionInfo](c.UseProject(""), pathOf("auth", "permissions")+"?"+q.Encode())
}

// ProviderGroups lists the groups of the identity provider that stand for groups of the server.
func (c *Client) ProviderGroups() ([]api.IdentityProviderGroup, error) {
	return list[api.IdentityProviderGroup](c, pathOf("auth", "identity-provider-groups")+"?recursion=1")
}

// ProviderGroup fetches one of them.
func (c *Client) ProviderGroup(name string) (*api.IdentityProviderGroup, string, error) {
	return get[api.IdentityProviderGroup](c, pathOf("auth", "identity-provider-groups", name))
}

// CreateProviderGroup has a group of the identity provider stand for groups of the server.
func (c *Client) CreateProviderGroup(post api.IdentityProviderGroup) error {
	return c.send(http.MethodPost, pathOf("auth", "identity-provider-groups"), post, "")
}

// UpdateProviderGroup replaces the groups that one of the identity provider stands for.
func (c *Client) UpdateProviderGroup(name string, put api.IdentityProviderGroupPut, etag string) error {
	return c.send(http.MethodPut, pathOf("auth", "identity-provider-groups", name), put, etag)
}

// RenameProviderGroup has another group of the identity provider stand for the same.
func (c *Client) RenameProviderGroup(name, to string) error {
	return c.send(http.MethodPost, pathOf("auth", "identity-provider-groups", name), api.IdentityProviderGroupPost{Name: to}, "")
}

// DeleteProviderGroup has a group of the identity provider stand for nothing.
func (c *Client) DeleteProviderGroup(name string) error {
	return c.send(http.MethodDelete, pathOf("auth", "identity-provider-groups", name), nil, "")
}

// EntityURL is the URL of an object that a permission is about: of a type, by its name and what else it takes to find it, "project" (default:
// default), for volumes "pool" and "type" (default: custom).
func EntityURL(entityType, name string, more map[string]string) (string, error) {
	in := ""
	project := more["project"]
	if project == "" {
		project = api.ProjectDefault
	}
	ofProject := func(elements ...string) string { return pathOf(elements...) + "?project=" + url.QueryEscape(project) }
	switch entityType {
	case "instance", "image", "profile", "network":
		in = ofProject(entityType+"s", name)
	case "image_alias":
		in = ofProject("images", "aliases", name)
	case "storage_volume":
		kind := more["type"]
		if kind == "" {
			kind = "custom"
		}
		if more["pool"] == "" {
			return "", errors.New("a storage volume is of a pool: pool=<name> is missing")
		}
		in = ofProject("storage-pools", more["pool"], "volumes", kind, name)
	case "storage_pool":
		in = pathOf("storage-pools", name)
	case "project", "certificate":
		in = pathOf(entityType+"s", name)
	case "group":
		in = pathOf("auth", "groups", name)
	case "identity_provider_group":
		in = pathOf("auth", "identity-provider-groups", name)
	case "identity":
		method, id, ok := strings.Cut(name, "/")
		if !ok {
			return "", fmt.Errorf("identity %q is not <method>/<identifier>", name)
		}
		in = pathOf("auth", "identities", method, id)
	default:
		return "", fmt.Errorf("invalid entity type %q", entityType)
	}
	return in, nil
}
