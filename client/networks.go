package client

import (
	"net/http"

	"github.com/berthd/berth/api"
)

// Networks lists the networks, managed or not.
func (c *Client) Networks() ([]api.Network, error) {
	return list[api.Network](c, pathOf("networks")+"?recursion=1")
}

// Network fetches one network.
func (c *Client) Network(name string) (*api.Network, string, error) {
	return get[api.Network](c, pathOf("networks", name))
}

// NetworkState fetches the live state of a network's interface.
func (c *Client) NetworkState(name string) (*api.NetworkState, error) {
	state, _, err := get[api.NetworkState](c, pathOf("networks", name, "state"))
	return state, err
}

// NetworkLeases lists the leases of a managed network.
func (c *Client) NetworkLeases(name string) ([]api.NetworkLease, error) {
	return list[api.NetworkLease](c, pathOf("networks", name, "leases"))
}

// CreateNetwork makes a network.
func (c *Client) CreateNetwork(post api.NetworksPost) error {
	return c.send(http.MethodPost, pathOf("networks"), post, "")
}

// UpdateNetwork replaces a network's configuration.
func (c *Client) UpdateNetwork(name string, put api.NetworkPut, etag string) error {
	return c.send(http.MethodPut, pathOf("networks", name), put, etag)
}

// RenameNetwork renames a network.
func (c *Client) RenameNetwork(name string, post api.NetworkPost) error {
	return c.send(http.MethodPost, pathOf("networks", name), post, "")
}

// DeleteNetwork deletes an unused network.
func (c *Client) DeleteNetwork(name string) error {
	return c.send(http.MethodDelete, pathOf("networks", name), nil, "")
}
