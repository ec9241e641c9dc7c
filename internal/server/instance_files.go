package server

import (
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/instance/files"
	"github.com/berthd/berth/internal/securefs"
)

// filesAPI is /1.0/instances/<name>/files and …/sftp: files inside instances.
type filesAPI struct{ svc *files.Service }

func (a filesAPI) routes() []Route {
	if a.svc == nil {
		return nil
	}
	var all []Route
	all = append(all, both(http.MethodGet, "/{name}/files", ofInstance(access.CanAccessFiles), a.get)...)
	all = append(all, both(http.MethodHead, "/{name}/files", ofInstance(access.CanAccessFiles), a.get)...)
	all = append(all, both(http.MethodPost, "/{name}/files", ofInstance(access.CanAccessFiles), a.post)...)
	all = append(all, both(http.MethodDelete, "/{name}/files", ofInstance(access.CanAccessFiles), a.delete)...)
	return append(all, Route{Method: http.MethodGet, Path: "/1.0/instances/{name}/sftp", Need: ofInstance(access.CanConnectSFTP), Live: true, Handle: a.sftp})
}

// get answers with a file's content, where a link leads, or the names in a directory; who owns it and the like are in
// headers, and with HEAD that is all.
func (a filesAPI) get(r *Request) Response {
	object, err := a.svc.Get(r.Context(), r.Project(), r.Var("name"), r.Query("path"))
	if err != nil {
		return Fail(err)
	}
	return Raw(func(w http.ResponseWriter, _ *http.Request) error {
		defer object.Close()
		fileHeaders(w.Header(), object)
		switch {
		case r.Method == http.MethodHead:
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusOK)
			return nil
		case object.Type == files.TypeDirectory:
			if r.Query("names") == namesEscaped {
				w.Header().Set(namesHeader, namesEscaped)
				for i, name := range object.Names {
					object.Names[i] = url.PathEscape(name)
				}
			}
			return Sync(orEmpty(object.Names)).respond(w, r)
		case object.Type == files.TypeSymlink:
			attachment(w.Header(), r.Query("path"))
			w.Header().Set("Content-Length", strconv.Itoa(len(object.Link)))
			_, err := w.Write([]byte(object.Link))
			return err
		default:
			attachment(w.Header(), r.Query("path"))
			return sendFile(w, r, object)
		}
	})
}

// A name in a directory may be any bytes, and JSON holds characters only: LXD's lists spoil such names. With names=escaped they come
// as in the path of a URL, and the header says so.
const (
	namesHeader  = "X-Berth-names"
	namesEscaped = "escaped"
)

func fileHeaders(h http.Header, o *files.Object) {
	h.Set("X-LXD-uid", strconv.Itoa(o.Info.UID))
	h.Set("X-LXD-gid", strconv.Itoa(o.Info.GID))
	h.Set("X-LXD-mode", fmt.Sprintf("%04o", securefs.Permissions(o.Info.Mode)))
	h.Set("X-LXD-modified", o.Info.ModTime.UTC().Format("2006-01-02 15:04:05 -0700 MST"))
	h.Set("X-LXD-type", string(o.Type))
}

func attachment(h http.Header, file string) {
	value := mime.FormatMediaType("inline", map[string]string{"filename": path.Base(file)})
	if value == "" {
		value = "inline"
	}
	h.Set("Content-Disposition", value)
	h.Set("Content-Type", "application/octet-stream")
}

// Files larger than sentByKernel are sent by the kernel. A smaller one goes out with its header in one write.
const sentByKernel = 64 << 10

// sendFile sends the content. A size is only announced when the content has been seen to have it: files of /proc say 0 and
// those of /sys a page, whatever is in them. Of such files parts cannot be had, and who asks for one gets the whole.
func sendFile(w http.ResponseWriter, r *Request, o *files.Object) error {
	size, h := o.Info.Size, w.Header()
	partly := r.Header.Get("Range") != "" || r.Header.Get("If-Modified-Since") != ""
	large := size > sentByKernel
	reaches := (partly || large) && files.Reaches(o.File, size)
	if partly && reaches {
		http.ServeContent(w, r.Request, "", o.Info.ModTime, o.File)
		return nil
	}
	h.Set("Last-Modified", o.Info.ModTime.UTC().Format(http.TimeFormat))
	announce := func(n int64) {
		if n == size {
			h.Set("Accept-Ranges", "bytes")
		}
		h.Set("Content-Length", strconv.FormatInt(n, 10))
	}
	if !large || !reaches {
		return files.CopyAnnounced(r.Context(), w, o.File, announce)
	}
	announce(size)
	if r.TLS == nil {
		return files.SendN(w, o.File, size)
	}
	return files.CopyN(r.Context(), w, o.File, size)
}

// post writes a file, a directory or a link, as the headers say.
func (a filesAPI) post(r *Request) Response {
	put := files.Put{Type: files.TypeFile, Body: r.Body}
	if t := r.Header.Get("X-LXD-type"); t != "" {
		put.Type = files.Type(t)
	}
	switch put.Type {
	case files.TypeFile, files.TypeDirectory, files.TypeSymlink:
	default:
		return Fail(api.BadRequest("Bad file type: %s", put.Type))
	}
	switch write := r.Header.Get("X-LXD-write"); write {
	case "", "overwrite":
	case "append":
		put.Append = true
	default:
		return Fail(api.BadRequest("Bad file write mode: %s", write))
	}
	put.UID, put.GID = headerID(r, "X-LXD-uid"), headerID(r, "X-LXD-gid")
	put.Mode = headerMode(r)
	if err := a.svc.Put(r.Context(), r.Project(), r.Var("name"), r.Query("path"), put); err != nil {
		return Fail(err)
	}
	return Empty()
}

// headerID reads an ID from a header; what is no number counts as not given, as in LXD.
func headerID(r *Request, name string) *int64 {
	n, err := strconv.ParseInt(r.Header.Get(name), 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

// headerMode reads an octal mode, with or without a zero before it.
func headerMode(r *Request) *fs.FileMode {
	n, err := strconv.ParseUint(strings.TrimPrefix(r.Header.Get("X-LXD-mode"), "0o"), 8, 32)
	if err != nil {
		return nil
	}
	mode := fs.FileMode(n & 0o777)
	for bit, flag := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if n&bit != 0 {
			mode |= flag
		}
	}
	return &mode
}

func (a filesAPI) delete(r *Request) Response {
	if err := a.svc.Delete(r.Context(), r.Project(), r.Var("name"), r.Query("path")); err != nil {
		return Fail(err)
	}
	return Empty()
}
