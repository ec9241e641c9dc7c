// Package image holds the use-cases and rules of images: how they are received, checked, named, shown, unpacked and removed.
//
// An image is one or two files in images/, named by the image's fingerprint: the SHA-256 over the metadata archive and
// then the root file system. Records in the store say in which projects it is known and with what properties; the files are
// shared by all that have them in the same shape, and go when the last record goes.
package image

import (
	"context"
	"strings"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/fetch"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/store"
)

// Types of images, as the API names them.
const (
	TypeContainer = "container"
	TypeVM        = "virtual-machine"
)

// DefaultMaxSize bounds an upload, in bytes; Deps.MaxSize changes it.
const DefaultMaxSize = 256 << 30

// record is an image as the store keeps it, at (project, fingerprint).
type record struct {
	Type         string            `json:"type"`
	Architecture string            `json:"architecture"`
	Filename     string            `json:"filename"`
	Size         int64             `json:"size"`
	Split        bool              `json:"split"`
	Shape        string            `json:"shape,omitempty"` // of the files; earlier daemons did not note it
	Files        string            `json:"files,omitempty"` // their name in images/, if that is not the fingerprint
	Public       bool              `json:"public"`
	AutoUpdate   bool              `json:"auto_update"`
	Cached       bool              `json:"cached"`
	Properties   map[string]string `json:"properties"`
	Profiles     []string          `json:"profiles"`
	Source       *api.ImageSource  `json:"source,omitempty"`
	Policy       *fetch.Policy     `json:"policy,omitempty"` // whoever named the source was held to it; nil: nobody noted it
	CreatedAt    time.Time         `json:"created_at"`
	ExpiresAt    time.Time         `json:"expires_at"`
	UploadedAt   time.Time         `json:"uploaded_at"`
}

// alias is a name of an image, at (project, name).
type alias struct {
	Target      string `json:"target"`
	Description string `json:"description"`
}

// use is when an image was used last, at (project, fingerprint). It stands apart so that using an image does not
// change the image's ETag.
type use struct {
	At time.Time `json:"at"`
}

// Deps are what the service needs.
type Deps struct {
	Store   *store.Store
	Journal *journal.Journal
	Locks   *lock.Manager // nil: one of its own
	Events  event.Publisher
	Dir     string // $BERTH_DIR/images

	// OnDelete, if set, removes what pools prepared, under the name that Prepared gave, from an image that no project has any more.
	OnDelete func(ctx context.Context, prepared string) error
	// HasProfile, if set, tells whether a profile exists in a project.
	HasProfile func(ctx context.Context, project, name string) bool
	// Projects tells in which project a project's images are; nil: there is the default one alone.
	Projects Projects
	// MaxSize bounds an upload, in bytes; 0 is DefaultMaxSize.
	MaxSize int64
	// Publish, if set, gives the content of an instance or snapshot to make an image from.
	Publish Publisher
	// Setting, if set, gives the value of a key of a project's configuration or, where that does not say, of the server's.
	Setting func(project, key string) string
	// Architectures are the names of those that run here.
	Architectures []string
	// Remote, if set, fetches images from other servers.
	Remote Remote
}

// Projects is what images need of projects; *project.Service implements it.
type Projects interface {
	project.Homes
	Sharing(kind project.Kind, name string) []string
	Reserve(action, name string) *project.Reservation
	Hold(ctx context.Context, action, name string) (context.Context, func(), error)
}

// Service is the images of all projects. A project is the one that a request is about; where it shares the images of the default project,
// those are meant.
type Service struct {
	Deps
	images   *store.Table[record]
	aliases  *store.Table[alias]
	uses     *store.Table[use]
	verified verified
	secrets  secrets
	updating chan struct{} // holds one for each image that is being updated
}

// Fault points between the steps of what changes files.
var (
	faultReceived = fault.New("image.import.received")
	faultPlaced   = fault.New("image.import.placed")
	faultCreated  = fault.New("image.import.created")
	faultForgot   = fault.New("image.delete.forgotten")
	faultRemoved  = fault.New("image.delete.removed")
)

// New makes the service and its tables, and registers how unfinished changes are undone. Call it before the store is loaded.
func New(d Deps) *Service {
	if d.MaxSize == 0 {
		d.MaxSize = DefaultMaxSize
	}
	if d.Locks == nil {
		d.Locks = &lock.Manager{}
	}
	if d.Projects == nil {
		d.Projects = project.Single{}
	}
	s := &Service{
		Deps:    d,
		images:  store.NewTable[record](d.Store, "images"),
		aliases: store.NewTable[alias](d.Store, "image-aliases"),
		uses:    store.NewTable[use](d.Store, "image-uses"),

		updating: make(chan struct{}, updatesAtOnce),
	}
	d.Journal.Handle(kindUpload, s.undoUpload)
	d.Journal.Handle(kindFiles, s.recoverFiles)
	d.Journal.Guard(kindFiles, journal.Guard{}) // a pool that is away keeps its copy of a deleted image until it is back
	d.Journal.Handle(kindAliases, s.finishAliases)
	return s
}

// urlOf is where the API shows an image, given its place in the table.
func urlOf(path ...string) string { return project.URL(path[0], "images", path[1]) }

// Home is the project that a project's images are in.
func (s *Service) Home(name string) string { return s.Projects.Effective(project.Images, name) }

// homeFor is Home for whoever makes or changes an image there, or, with access.ImageAlias, an alias; object is its name.
func (s *Service) homeFor(ctx context.Context, kind access.Entity, name string, may access.Entitlement, object string) (string, error) {
	return project.Home(ctx, s.Projects, kind, name, may, object)
}

var errNotFound = "Image not found"

// find gives the record that a fingerprint or a prefix of one names.
func (s *Service) find(project, name string) (store.Row[record], error) {
	return s.findIn(s.Home(project), name, anyImage)
}

func anyImage(store.Row[record]) bool { return true }

// findFor is find for whoever changes the image.
func (s *Service) findFor(ctx context.Context, project, name string, may access.Entitlement) (store.Row[record], error) {
	home, err := s.homeFor(ctx, access.Image, project, may, name)
	if err != nil {
		return store.Row[record]{}, err
	}
	return s.findIn(home, name, anyImage)
}

// findAmong is find among the images that are seen: others are not told of by a prefix that is theirs, too.
func (s *Service) findAmong(project, name string, seen func(store.Row[record]) bool) (store.Row[record], error) {
	return s.findIn(s.Home(project), name, seen)
}

// findIn is findAmong for the project where the image is.
func (s *Service) findIn(project, name string, seen func(store.Row[record]) bool) (store.Row[record], error) {
	if row, ok := s.images.Get(project, name); ok && seen(row) {
		return row, nil
	}
	if name == "" || strings.Trim(name, "0123456789abcdef") != "" {
		return store.Row[record]{}, api.NotFound("%s", errNotFound)
	}
	var found []store.Row[record]
	for _, row := range s.images.List(project) {
		if strings.HasPrefix(row.Path[1], name) && seen(row) {
			found = append(found, row)
		}
	}
	switch len(found) {
	case 0:
		return store.Row[record]{}, api.NotFound("%s", errNotFound)
	case 1:
		return found[0], nil
	default:
		return store.Row[record]{}, api.BadRequest("More than one image matches")
	}
}

// show makes the API's picture of a record.
func (s *Service) show(row store.Row[record], aliases []api.ImageAlias) *api.Image {
	r, fingerprint := row.Value, row.Path[1]
	img := &api.Image{
		ImagePut: api.ImagePut{
			AutoUpdate: r.AutoUpdate, Public: r.Public, ExpiresAt: r.ExpiresAt,
			Properties: cloneMap(r.Properties), Profiles: append([]string{}, r.Profiles...),
		},
		Aliases: append([]api.ImageAlias{}, aliases...), Architecture: r.Architecture, Cached: r.Cached, Filename: r.Filename,
		Fingerprint: fingerprint, Size: r.Size, Type: r.Type,
		CreatedAt: r.CreatedAt, UploadedAt: r.UploadedAt,
	}
	if r.Source != nil {
		source := *r.Source
		img.UpdateSource = &source
	}
	if u, ok := s.uses.Get(row.Path...); ok {
		img.LastUsedAt = u.Value.At
	}
	return img
}

// aliasesByImage groups a project's aliases by what they name.
func (s *Service) aliasesByImage(project string) map[string][]api.ImageAlias {
	named := map[string][]api.ImageAlias{}
	for _, row := range s.aliases.List(project) {
		target := row.Value.Target
		named[target] = append(named[target], api.ImageAlias{Name: row.Path[1], Description: row.Value.Description})
	}
	return named
}

// List gives a project's images, by fingerprint; with publicOnly, those that anyone may see.
func (s *Service) List(_ context.Context, project string, publicOnly bool) []*api.Image {
	project = s.Home(project)
	named := s.aliasesByImage(project)
	images := []*api.Image{}
	for _, row := range s.images.List(project) {
		if !publicOnly || row.Value.Public {
			images = append(images, s.show(row, named[row.Path[1]]))
		}
	}
	return images
}

// Get gives one image by fingerprint or a unique prefix of one, and its revision.
func (s *Service) Get(_ context.Context, project, name string) (*api.Image, store.Revision, error) {
	row, err := s.find(project, name)
	if err != nil {
		return nil, 0, err
	}
	return s.show(row, s.aliasesByImage(row.Path[0])[row.Path[1]]), row.Revision, nil
}

// Used are the ops that note that an image is used now; none if it has gone.
func (s *Service) Used(project, fingerprint string) []store.Op {
	row, err := s.find(project, fingerprint)
	if err != nil {
		return nil
	}
	return []store.Op{s.uses.Put(&use{At: time.Now().UTC()}, row.Path...)}
}

func cloneMap(m map[string]string) map[string]string {
	c := make(map[string]string, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// Size is what a project's own images take, in bytes.
func (s *Service) Size(project string) (n int64) {
	for _, row := range s.images.List(project) {
		n += row.Value.Size
	}
	return n
}

// Fingerprints lists the fingerprints of a project's images.
func (s *Service) Fingerprints(project string) []string {
	var all []string
	for _, row := range s.images.List(s.Home(project)) {
		all = append(all, row.Path[1])
	}
	return all
}
