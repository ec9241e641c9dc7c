package client

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"github.com/berthd/berth/api"
)

// Images lists the images.
func (c *Client) Images() ([]api.Image, error) {
	return list[api.Image](c, pathOf("images")+"?recursion=1")
}

// ImagesFiltered lists the images that a server-side filter expression selects.
func (c *Client) ImagesFiltered(filter string) ([]api.Image, error) {
	return list[api.Image](c, pathOf("images")+"?recursion=1&"+query("filter", filter))
}

// Image fetches an image by its fingerprint or the start of it.
func (c *Client) Image(fingerprint string) (*api.Image, string, error) {
	return get[api.Image](c, pathOf("images", fingerprint))
}

// CreateImage makes an image from what post.Source names (an instance, another server, a URL).
func (c *Client) CreateImage(post api.ImagesPost) (*Operation, error) {
	return c.start(http.MethodPost, pathOf("images"), post, "")
}

// ImageUpload is an image to send. A unified image has only Meta, a split one has both; Rootfs of kind
// container is a tarball or squashfs, of kind virtual-machine a disk.
type ImageUpload struct {
	Meta       io.Reader
	MetaName   string
	Rootfs     io.Reader
	RootfsName string
	Type       string // container (or empty) or virtual-machine
	Public     bool
	Properties map[string]string
	Profiles   []string // nil: the server's default
}

// UploadImage streams an image to the server without a copy on disk.
func (c *Client) UploadImage(up ImageUpload) (*Operation, error) {
	h := http.Header{}
	if up.Public {
		h.Set("X-LXD-public", "true")
	}
	if len(up.Properties) > 0 {
		values := url.Values{}
		for k, v := range up.Properties {
			values.Set(k, v)
		}
		h.Set("X-LXD-properties", values.Encode())
	}
	if up.Profiles != nil {
		values := url.Values{}
		for _, p := range up.Profiles {
			values.Add("profile", p)
		}
		h.Set("X-LXD-profiles", values.Encode())
	}
	body := up.Meta
	if up.Rootfs != nil {
		pr, pw := io.Pipe()
		defer pr.Close()
		form := multipart.NewWriter(pw)
		h.Set("Content-Type", form.FormDataContentType())
		go func() { pw.CloseWithError(writeParts(form, up)) }()
		body = pr
	} else {
		h.Set("X-LXD-filename", up.MetaName)
	}
	resp, err := c.request(http.MethodPost, c.scoped(pathOf("images")), body, h)
	if err != nil {
		return nil, err
	}
	envelope, err := decode(resp)
	if err != nil {
		return nil, err
	}
	return c.operation(envelope)
}

func writeParts(form *multipart.Writer, up ImageUpload) error {
	part, err := form.CreateFormFile("metadata", up.MetaName)
	if err != nil {
		return err
	}
	if _, err := io.Copy(part, up.Meta); err != nil {
		return err
	}
	field := "rootfs"
	if up.Type == string(api.InstanceTypeVM) {
		field = "rootfs.img"
	}
	if part, err = form.CreateFormFile(field, up.RootfsName); err != nil {
		return err
	}
	if _, err := io.Copy(part, up.Rootfs); err != nil {
		return err
	}
	return form.Close()
}

// ImageFile is one file of an exported image.
type ImageFile struct {
	Field string // metadata, rootfs, rootfs.img; empty for a unified image
	Name  string // the server's name for it: not to be used as a path without a check
	Size  int64  // bytes, -1 unknown
}

// ExportImage streams an image's files one after the other to the writer that dest gives for each. A secret (may be empty) opens a private image.
func (c *Client) ExportImage(fingerprint, secret string, dest func(ImageFile) (io.Writer, error)) error {
	path := pathOf("images", fingerprint, "export")
	if secret != "" {
		path += "?" + query("secret", secret)
	}
	resp, err := c.request(http.MethodGet, c.scoped(path), nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		_, err := decode(resp)
		return err
	}
	kind, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err == nil && strings.HasPrefix(kind, "multipart/") {
		return exportParts(multipart.NewReader(resp.Body, params["boundary"]), dest)
	}
	_, disposition, err := mime.ParseMediaType(resp.Header.Get("Content-Disposition"))
	if err != nil {
		return fmt.Errorf("answer without a file name: %w", err)
	}
	return copyTo(dest, ImageFile{Name: disposition["filename"], Size: resp.ContentLength}, resp.Body)
}

func exportParts(reader *multipart.Reader, dest func(ImageFile) (io.Writer, error)) error {
	for {
		part, err := reader.NextPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := copyTo(dest, ImageFile{Field: part.FormName(), Name: part.FileName(), Size: partSize(part.Header)}, part); err != nil {
			return err
		}
	}
}

func partSize(h textproto.MIMEHeader) int64 {
	if n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64); err == nil {
		return n
	}
	return -1
}

func copyTo(dest func(ImageFile) (io.Writer, error), file ImageFile, from io.Reader) error {
	w, err := dest(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, from)
	return err
}

// ImageSecret asks for a secret with which another server can fetch a private image.
func (c *Client) ImageSecret(fingerprint string) (*Operation, error) {
	return c.start(http.MethodPost, pathOf("images", fingerprint, "secret"), nil, "")
}

// UpdateImage replaces an image's properties.
func (c *Client) UpdateImage(fingerprint string, put api.ImagePut, etag string) error {
	return c.send(http.MethodPut, pathOf("images", fingerprint), put, etag)
}

// DeleteImage deletes an image.
func (c *Client) DeleteImage(fingerprint string) (*Operation, error) {
	return c.start(http.MethodDelete, pathOf("images", fingerprint), nil, "")
}

// RefreshImage asks for a newer version of an image from where it came from.
func (c *Client) RefreshImage(fingerprint string) (*Operation, error) {
	return c.start(http.MethodPost, pathOf("images", fingerprint, "refresh"), nil, "")
}

// ImageAliases lists the aliases.
func (c *Client) ImageAliases() ([]api.ImageAliasesEntry, error) {
	return list[api.ImageAliasesEntry](c, pathOf("images", "aliases")+"?recursion=1")
}

// ImageAlias fetches one alias.
func (c *Client) ImageAlias(name string) (*api.ImageAliasesEntry, string, error) {
	return get[api.ImageAliasesEntry](c, pathOf("images", "aliases", name))
}

// CreateImageAlias makes an alias.
func (c *Client) CreateImageAlias(post api.ImageAliasesPost) error {
	return c.send(http.MethodPost, pathOf("images", "aliases"), post, "")
}

// UpdateImageAlias changes what an alias points to.
func (c *Client) UpdateImageAlias(name string, put api.ImageAliasesEntryPut, etag string) error {
	return c.send(http.MethodPut, pathOf("images", "aliases", name), put, etag)
}

// RenameImageAlias renames an alias.
func (c *Client) RenameImageAlias(name string, post api.ImageAliasesEntryPost) error {
	return c.send(http.MethodPost, pathOf("images", "aliases", name), post, "")
}

// DeleteImageAlias deletes an alias.
func (c *Client) DeleteImageAlias(name string) error {
	return c.send(http.MethodDelete, pathOf("images", "aliases", name), nil, "")
}
