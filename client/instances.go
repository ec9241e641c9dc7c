package client

import (
	"io"
	"net/http"

	"github.com/berthd/berth/api"
)

// InstanceNames lists the names of the instances.
func (c *Client) InstanceNames() ([]string, error) { return names(c, pathOf("instances")) }

// Instances lists the instances without their state.
func (c *Client) Instances() ([]api.Instance, error) {
	return list[api.Instance](c, pathOf("instances")+"?recursion=1")
}

// InstancesFull lists the instances with their state, snapshots and backups.
func (c *Client) InstancesFull() ([]api.InstanceFull, error) {
	return list[api.InstanceFull](c, pathOf("instances")+"?recursion=2")
}

// InstancesAllProjects lists the instances of every project without their state.
func (c *Client) InstancesAllProjects() ([]api.Instance, error) {
	return list[api.Instance](c, pathOf("instances")+"?recursion=1&all-projects=true")
}

// InstancesFullAllProjects lists the instances of every project with their state, snapshots and backups.
func (c *Client) InstancesFullAllProjects() ([]api.InstanceFull, error) {
	return list[api.InstanceFull](c, pathOf("instances")+"?recursion=2&all-projects=true")
}

// Instance fetches one instance.
func (c *Client) Instance(name string) (*api.Instance, string, error) {
	return get[api.Instance](c, pathOf("instances", name))
}

// InstanceFull fetches one instance with its state, snapshots and backups.
func (c *Client) InstanceFull(name string) (*api.InstanceFull, string, error) {
	return get[api.InstanceFull](c, pathOf("instances", name)+"?recursion=1")
}

// CreateInstance makes an instance.
func (c *Client) CreateInstance(post api.InstancesPost) (*Operation, error) {
	return c.start(http.MethodPost, pathOf("instances"), post, "")
}

// UpdateInstance replaces an instance's configuration, or goes back to a snapshot when Restore is set.
func (c *Client) UpdateInstance(name string, put api.InstancePut, etag string) (*Operation, error) {
	return c.start(http.MethodPut, pathOf("instances", name), put, etag)
}

// PatchInstance changes what change names, in the shape of an api.InstancePut with some of its fields, and leaves all else as it is.
func (c *Client) PatchInstance(name string, change map[string]any, etag string) error {
	_, err := c.Query(http.MethodPatch, pathOf("instances", name), change, etag, nil)
	return err
}

// RenameInstance renames, moves or migrates an instance.
func (c *Client) RenameInstance(name string, post api.InstancePost) (*Operation, error) {
	return c.start(http.MethodPost, pathOf("instances", name), post, "")
}

// DeleteInstance deletes a stopped instance.
func (c *Client) DeleteInstance(name string) (*Operation, error) {
	return c.start(http.MethodDelete, pathOf("instances", name), nil, "")
}

// InstanceState fetches the live state of an instance.
func (c *Client) InstanceState(name string) (*api.InstanceState, string, error) {
	return get[api.InstanceState](c, pathOf("instances", name, "state"))
}

// UpdateInstanceState starts, stops, restarts, freezes or thaws an instance.
func (c *Client) UpdateInstanceState(name string, put api.InstanceStatePut, etag string) (*Operation, error) {
	return c.start(http.MethodPut, pathOf("instances", name, "state"), put, etag)
}

// UpdateInstances changes the state of every instance of the project.
func (c *Client) UpdateInstances(put api.InstancesPut, etag string) (*Operation, error) {
	return c.start(http.MethodPut, pathOf("instances"), put, etag)
}

// InstanceSnapshots lists the snapshots of an instance.
func (c *Client) InstanceSnapshots(name string) ([]api.InstanceSnapshot, error) {
	return list[api.InstanceSnapshot](c, pathOf("instances", name, "snapshots")+"?recursion=1")
}

// InstanceSnapshotNames lists the names of an instance's snapshots.
func (c *Client) InstanceSnapshotNames(name string) ([]string, error) {
	return names(c, pathOf("instances", name, "snapshots"))
}

// InstanceSnapshot fetches one snapshot.
func (c *Client) InstanceSnapshot(name, snapshot string) (*api.InstanceSnapshot, string, error) {
	return get[api.InstanceSnapshot](c, pathOf("instances", name, "snapshots", snapshot))
}

// CreateInstanceSnapshot makes a snapshot.
func (c *Client) CreateInstanceSnapshot(name string, post api.InstanceSnapshotsPost) (*Operation, error) {
	return c.start(http.MethodPost, pathOf("instances", name, "snapshots"), post, "")
}

// UpdateInstanceSnapshot changes when a snapshot expires.
func (c *Client) UpdateInstanceSnapshot(name, snapshot string, put api.InstanceSnapshotPut, etag string) (*Operation, error) {
	return c.start(http.MethodPut, pathOf("instances", name, "snapshots", snapshot), put, etag)
}

// RenameInstanceSnapshot renames a snapshot.
func (c *Client) RenameInstanceSnapshot(name, snapshot string, post api.InstanceSnapshotPost) (*Operation, error) {
	return c.start(http.MethodPost, pathOf("instances", name, "snapshots", snapshot), post, "")
}

// DeleteInstanceSnapshot deletes a snapshot.
func (c *Client) DeleteInstanceSnapshot(name, snapshot string) (*Operation, error) {
	return c.start(http.MethodDelete, pathOf("instances", name, "snapshots", snapshot), nil, "")
}

// InstanceLogs lists the names of an instance's log files.
func (c *Client) InstanceLogs(name string) ([]string, error) {
	return names(c, pathOf("instances", name, "logs"))
}

// InstanceLog opens one log file.
func (c *Client) InstanceLog(name, file string) (io.ReadCloser, error) {
	return c.open(c.scoped(pathOf("instances", name, "logs", file)))
}

// ConsoleLog opens the console's log.
func (c *Client) ConsoleLog(name string) (io.ReadCloser, error) {
	return c.open(c.scoped(pathOf("instances", name, "console")))
}

// InstanceMetadata fetches metadata.yaml of an instance.
func (c *Client) InstanceMetadata(name string) (*api.ImageMetadata, string, error) {
	return get[api.ImageMetadata](c, pathOf("instances", name, "metadata"))
}

// UpdateInstanceMetadata replaces metadata.yaml of an instance.
func (c *Client) UpdateInstanceMetadata(name string, metadata api.ImageMetadata, etag string) error {
	return c.send(http.MethodPut, pathOf("instances", name, "metadata"), metadata, etag)
}

// InstanceTemplates lists the templates of an instance.
func (c *Client) InstanceTemplates(name string) ([]string, error) {
	return list[string](c, pathOf("instances", name, "metadata", "templates"))
}

// InstanceTemplate opens one template.
func (c *Client) InstanceTemplate(name, template string) (io.ReadCloser, error) {
	return c.open(c.scoped(templatePath(name, template)))
}

// SetInstanceTemplate writes one template.
func (c *Client) SetInstanceTemplate(name, template string, content io.Reader) error {
	return c.send(http.MethodPost, templatePath(name, template), content, "")
}

// DeleteInstanceTemplate deletes one template.
func (c *Client) DeleteInstanceTemplate(name, template string) error {
	return c.send(http.MethodDelete, templatePath(name, template), nil, "")
}

func templatePath(name, template string) string {
	return pathOf("instances", name, "metadata", "templates") + "?" + query("path", template)
}

// open fetches a raw file; an error envelope becomes the error.
func (c *Client) open(path string) (io.ReadCloser, error) {
	resp, err := c.request(http.MethodGet, path, nil, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		if _, err := decode(resp); err != nil {
			return nil, err
		}
	}
	return resp.Body, nil
}
