package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/berthd/berth/api"
)

// Kinds of file.
const (
	FileRegular   = "file"
	FileDirectory = "directory"
	FileSymlink   = "symlink"
)

// FileInfo describes a file inside an instance.
type FileInfo struct {
	UID, GID int64
	Mode     int      // permission bits
	Type     string   // FileRegular, FileDirectory or FileSymlink
	Entries  []string // names in a directory; of an LXD server, those that are not UTF-8 are spoilt
	Size     int64    // bytes of what the reader holds, -1 if the server does not say
}

// FileUpload says how to write a file. Negative UID, GID or Mode leave the choice to the server.
type FileUpload struct {
	Content  io.Reader // content, or target of a symbolic link; nil for a directory
	UID, GID int64
	Mode     int
	Type     string // empty means FileRegular
	Append   bool
}

func query(key, value string) string { return url.Values{key: {value}}.Encode() }

func filePath(instance, path string) string {
	return pathOf("instances", instance, "files") + "?" + query("path", path)
}

// InstanceFile opens a file of an instance. The reader holds a regular file's content or a link's target, and is nil for a directory.
func (c *Client) InstanceFile(instance, path string) (io.ReadCloser, *FileInfo, error) {
	resp, err := c.request(http.MethodGet, c.scoped(filePath(instance, path)+"&names=escaped"), nil, nil)
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_, err := decode(resp)
		if err == nil {
			err = api.Errorf(resp.StatusCode, "unexpected answer %s", resp.Status)
		}
		return nil, nil, err
	}
	info, err := fileInfo(resp.Header)
	if err != nil {
		resp.Body.Close()
		return nil, nil, err
	}
	if info.Type != FileDirectory {
		info.Size = resp.ContentLength
		return resp.Body, info, nil
	}
	escaped := resp.Header.Get("X-Berth-names") == "escaped"
	envelope, err := decode(resp)
	if err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(envelope.Metadata, &info.Entries); err != nil {
		return nil, nil, fmt.Errorf("decode directory: %w", err)
	}
	for i, e := range info.Entries {
		if escaped {
			if e, err = url.PathUnescape(e); err != nil {
				return nil, nil, fmt.Errorf("decode directory: %w", err)
			}
			info.Entries[i] = e
		}
		// These names become local file names in a recursive pull.
		if e == "" || e == "." || e == ".." || strings.ContainsAny(e, "/\x00") {
			return nil, nil, fmt.Errorf("the server listed a file with the impossible name %q", e)
		}
	}
	return nil, info, nil
}

func fileInfo(h http.Header) (*FileInfo, error) {
	info := &FileInfo{Type: h.Get("X-LXD-type"), UID: -1, GID: -1, Mode: -1, Size: -1}
	if info.Type == "" {
		info.Type = FileRegular
	}
	var errs [3]error
	if v := h.Get("X-LXD-uid"); v != "" {
		info.UID, errs[0] = strconv.ParseInt(v, 10, 64)
	}
	if v := h.Get("X-LXD-gid"); v != "" {
		info.GID, errs[1] = strconv.ParseInt(v, 10, 64)
	}
	if v := h.Get("X-LXD-mode"); v != "" {
		var mode int64
		mode, errs[2] = strconv.ParseInt(v, 8, 32)
		info.Mode = int(mode)
	}
	return info, errors.Join(errs[:]...)
}

// PutInstanceFile writes a file of an instance.
func (c *Client) PutInstanceFile(instance, path string, up FileUpload) error {
	h := http.Header{}
	if up.UID >= 0 {
		h.Set("X-LXD-uid", strconv.FormatInt(up.UID, 10))
	}
	if up.GID >= 0 {
		h.Set("X-LXD-gid", strconv.FormatInt(up.GID, 10))
	}
	if up.Mode >= 0 {
		h.Set("X-LXD-mode", fmt.Sprintf("%04o", up.Mode))
	}
	if up.Type != "" {
		h.Set("X-LXD-type", up.Type)
	}
	if up.Append {
		h.Set("X-LXD-write", "append")
	}
	var body any
	if up.Content != nil {
		body = up.Content
	}
	resp, err := c.request(http.MethodPost, c.scoped(filePath(instance, path)), body, h)
	if err != nil {
		return err
	}
	_, err = decode(resp)
	return err
}

// DeleteInstanceFile deletes a file or an empty directory of an instance.
func (c *Client) DeleteInstanceFile(instance, path string) error {
	return c.send(http.MethodDelete, filePath(instance, path), nil, "")
}
