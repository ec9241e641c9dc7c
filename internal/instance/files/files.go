// Package files reads and writes files inside instances, running or stopped.
//
// A running instance is reached through its own view of its file systems (the root of its init), a stopped one through its
// volume. Every path is resolved by securefs beneath that root; objects are made as the instance's root user.
package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/securefs"
	"github.com/berthd/berth/internal/spec"
)

// Root is where an instance's files are, for as long as it is not released.
type Root struct {
	// Path leads to the root directory on the host: a descriptor's of what the first process sees, or the volume's rootfs.
	Path string
	// IDMap is how IDs inside appear at Path. Empty: as they are (a privileged instance, or a stopped one whose files
	// are owned by unshifted IDs on disk).
	IDMap []spec.IDMapEntry
	// Release lets go of what keeps Path there: that descriptor, or a mount of the volume. Nil if there is nothing.
	Release func()
	// Gone is closed when Path is no longer where the files are, as the instance has stopped or started, or was removed. Whoever has a
	// lasting root releases it then; changes of the instance wait for that.
	Gone <-chan struct{}
}

// Instances finds the roots; *instance.Service implements it.
type Instances interface {
	// FilesRoot fails with api.NotFound "Instance not found".
	FilesRoot(ctx context.Context, project, name string) (Root, error)
	// LastingRoot is FilesRoot for whoever stays for longer than one call: its Gone is set.
	LastingRoot(ctx context.Context, project, name string) (Root, error)
}

// Service is the files of all instances.
type Service struct {
	instances Instances
	events    event.Publisher
	sessions  sessions
}

// New makes the service.
func New(instances Instances, events event.Publisher) *Service {
	return &Service{instances: instances, events: events}
}

// Close ends the sessions, for the end of the daemon.
func (s *Service) Close() { s.sessions.close() }

// Type is the kind of an object, as X-LXD-type says it.
type Type string

// Types.
const (
	TypeFile      Type = "file"
	TypeDirectory Type = "directory"
	TypeSymlink   Type = "symlink"
)

// Object is something that was opened for a read. Close it.
type Object struct {
	Type  Type
	Info  securefs.Info // with the IDs that it has inside
	Names []string      // of a directory, sorted
	Link  string        // where a symlink leads
	File  *os.File      // of a file
	done  func()
}

// Close lets go of the file and of the instance.
func (o *Object) Close() {
	if o.File != nil {
		_ = o.File.Close()
	}
	o.done()
}

// root is an instance's root, opened.
type root struct {
	*securefs.Root
	ids  []spec.IDMapEntry
	gone <-chan struct{}
	done func()
}

func (s *Service) open(ctx context.Context, project, name string) (*root, error) {
	at, err := s.instances.FilesRoot(ctx, project, name)
	if err != nil {
		return nil, err
	}
	return openRoot(at)
}

func openRoot(at Root) (*root, error) {
	release := at.Release
	if release == nil {
		release = func() {}
	}
	r, err := securefs.Open(at.Path)
	if err != nil {
		release()
		return nil, fmt.Errorf("open the instance's root: %w", err)
	}
	if len(at.IDMap) > 0 {
		r.Limit(func(uid, gid int) bool { return mapped(at.IDMap, uid, false) && mapped(at.IDMap, gid, true) })
	}
	return &root{Root: r, ids: at.IDMap, gone: at.Gone, done: func() {
		_ = r.Close()
		release()
	}}, nil
}

// Get opens what is at a path; a link is not followed.
func (s *Service) Get(ctx context.Context, project, name, file string) (*Object, error) {
	file, err := clean(file)
	if err != nil {
		return nil, err
	}
	r, err := s.open(ctx, project, name)
	if err != nil {
		return nil, err
	}
	o, err := r.get(file)
	if err != nil {
		r.done()
		return nil, status(err)
	}
	s.publish(ctx, project, name, "instance-file-retrieved", map[string]any{"file-source": file})
	return o, nil
}

func (r *root) get(file string) (*Object, error) {
	info, err := r.Lstat(file)
	if err != nil {
		return nil, err
	}
	o := &Object{Info: info, done: r.done}
	switch info.Mode.Type() {
	case fs.ModeDir:
		o.Type = TypeDirectory
		o.Names, err = r.ReadDir(file)
	case fs.ModeSymlink:
		o.Type = TypeSymlink
		o.Link, err = r.Readlink(file)
	default:
		o.Type = TypeFile
		o.File, err = r.OpenRead(file)
	}
	o.Info.UID, o.Info.GID = inside(r.ids, info.UID, false), inside(r.ids, info.GID, true)
	return o, err
}

// Put is what is to be written. What the pointers leave out is as a plain push would have it: root's, 0644 for a file and
// 0750 for a directory. What exists keeps its owner and mode.
type Put struct {
	Type   Type
	Append bool
	UID    *int64
	GID    *int64
	Mode   *fs.FileMode
	Body   io.Reader // a file's content, or where a symlink leads
}

// Put writes a file, makes a directory, or makes a link.
func (s *Service) Put(ctx context.Context, project, name, file string, p Put) error {
	file, err := clean(file)
	if err != nil {
		return err
	}
	r, err := s.open(ctx, project, name)
	if err != nil {
		return err
	}
	defer r.done()
	owner, err := r.owner(p)
	if err != nil {
		return err
	}
	switch p.Type {
	case TypeFile:
		err = r.write(ctx, file, owner, p)
	case TypeDirectory:
		err = r.mkdir(file, owner, mode(p.Mode, 0o750))
	case TypeSymlink:
		err = r.symlink(file, owner, p.Body)
	default:
		err = api.BadRequest("Bad file type: %s", p.Type)
	}
	if err != nil {
		return status(err)
	}
	s.publish(ctx, project, name, "instance-file-pushed", map[string]any{"file-destination": file, "info": string(p.Type)})
	return nil
}

func mode(given *fs.FileMode, otherwise fs.FileMode) fs.FileMode {
	if given != nil {
		return *given
	}
	return otherwise
}

// as runs f as the instance's root user.
func (r *root) as(f func() error) error {
	uid, gid := outside(r.ids, 0, false), outside(r.ids, 0, true)
	if uid == 0 && gid == 0 {
		return f()
	}
	return securefs.As(uid, gid, f)
}

func (r *root) write(ctx context.Context, file string, owner securefs.Owner, p Put) error {
	var f *os.File
	err := r.as(func() (err error) {
		f, err = r.OpenWrite(file, p.Append)
		if errors.Is(err, fs.ErrNotExist) && !p.Append {
			f, err = r.Create(file, owner, mode(p.Mode, 0o644))
		}
		return err
	})
	if err != nil {
		return err
	}
	err = Copy(ctx, f, p.Body)
	return errors.Join(err, f.Close())
}

func (r *root) mkdir(file string, owner securefs.Owner, perm fs.FileMode) error {
	err := r.as(func() error { return r.Mkdir(file, owner, perm) })
	exists := errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.EBUSY) // EBUSY: "/" and the like
	if info, again := r.Stat(file); exists && again == nil && info.Mode.IsDir() {
		return nil
	}
	return err
}

func (r *root) symlink(file string, owner securefs.Owner, body io.Reader) error {
	target := make([]byte, 4097)
	n, err := io.ReadFull(body, target)
	if err == nil {
		return syscall.ENAMETOOLONG
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return err
	}
	return r.as(func() error {
		err := r.Symlink(string(target[:n]), file, owner)
		if errors.Is(err, fs.ErrExist) {
			// The same link once more is no error: a tree may be pushed again.
			if now, readErr := r.Readlink(file); readErr == nil && now == string(target[:n]) {
				return nil
			}
		}
		return err
	})
}

// Delete removes a file, a link or an empty directory.
func (s *Service) Delete(ctx context.Context, project, name, file string) error {
	file, err := clean(file)
	if err != nil {
		return err
	}
	r, err := s.open(ctx, project, name)
	if err != nil {
		return err
	}
	defer r.done()
	if err := r.as(func() error { return r.Remove(file) }); err != nil {
		return status(err)
	}
	s.publish(ctx, project, name, "instance-file-deleted", map[string]any{"file": file})
	return nil
}

func (s *Service) publish(ctx context.Context, of, name, action string, details map[string]any) {
	s.events.Lifecycle(ctx, of, action, project.URL(of, "instances", name), details)
}

// clean makes a path absolute. It keeps "..": what that means depends on links, and is the kernel's to say.
func clean(file string) (string, error) {
	if file == "" {
		return "", api.BadRequest("Missing path argument")
	}
	if !path.IsAbs(file) {
		file = "/" + file
	}
	return file, nil
}
