package client

import (
	"errors"
	"io"
	"net/http"

	"github.com/berthd/berth/api"
)

// InstanceSFTP connects to the files of an instance, running or stopped: what comes back speaks SFTP, as a server, without SSH
// around it. The caller closes it; it ends when the instance stops, starts or is removed.
func (c *Client) InstanceSFTP(instance string) (io.ReadWriteCloser, error) {
	header := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"sftp"}}
	resp, err := c.request(http.MethodGet, c.scoped(pathOf("instances", instance, "sftp")), nil, header)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		_, err := decode(resp)
		if err == nil {
			err = api.Errorf(resp.StatusCode, "unexpected answer %s", resp.Status)
		}
		return nil, err
	}
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		return nil, errors.Join(errors.New("the connection cannot be written to"), resp.Body.Close())
	}
	return conn, nil
}
