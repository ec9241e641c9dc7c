package usersocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
	"github.com/berthd/berth/internal/cliconf"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/durable"
	"github.com/berthd/berth/internal/initcmd"
)

// unfinished is a file beside a user's certificate for as long as not all is made that the user needs. Without it nothing is made anew: a
// certificate that the administrator took out of the trust store stays out.
const unfinished = "unfinished"

// credentials returns how to connect as a user, who gets what is missing of certificate, project and profile first.
func (s *Service) credentials(ctx context.Context, admin *client.Client, a *account) (*tls.Config, error) {
	dir := filepath.Join(s.root, "users", strconv.FormatUint(uint64(a.uid), 10))
	conf, err := cliconf.Load(dir)
	if err != nil {
		return nil, err
	}
	if !conf.HasClientCert() {
		if err := errors.Join(os.MkdirAll(dir, 0o700), mark(dir)); err != nil {
			return nil, err
		}
	}
	cert, key, err := conf.ClientCert(true)
	if err != nil {
		return nil, err
	}
	if err := s.complete(ctx, admin, a, dir, cert); err != nil {
		return nil, fmt.Errorf("set up project %s of user %s: %w", a.project(), a.name, err)
	}
	server, err := os.ReadFile(filepath.Join(s.root, "server.crt"))
	if err != nil {
		return nil, err
	}
	return client.Options{ClientCert: cert, ClientKey: key, ServerCert: string(server)}.TLS("")
}

// complete makes what is missing, if anything is to be made.
func (s *Service) complete(ctx context.Context, admin *client.Client, a *account, dir, cert string) error {
	fingerprint, err := client.Fingerprint(cert)
	if err != nil {
		return err
	}
	known, etag, err := admin.Certificate(fingerprint)
	switch {
	case api.IsNotFound(err):
		if !marked(dir) {
			return nil // taken away: the daemon knows what to say
		}
	case err != nil:
		return err
	case !known.Restricted: // the administrator has given it all rights
		return nil
	case len(known.Projects) == 0: // it was deleted
		if err := mark(dir); err != nil {
			return err
		}
	case !marked(dir):
		return nil
	}
	if err := s.setUpServer(); err != nil {
		return err
	}
	if err := s.makeProject(ctx, admin, a); err != nil {
		return err
	}
	if err := fillProfile(admin, a); err != nil {
		return err
	}
	if err := trust(admin, a, cert, fingerprint, known, etag); err != nil {
		return err
	}
	return errors.Join(os.Remove(filepath.Join(dir, unfinished)), durable.Dir(dir))
}

func mark(dir string) error {
	return durable.WriteFile(filepath.Join(dir, unfinished), 0o600, func(*os.File) error { return nil })
}

func marked(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, unfinished))
	return err == nil || !errors.Is(err, fs.ErrNotExist)
}

// preparing is a file for as long as a server is being prepared: what it has got so far is no sign that somebody else has prepared it.
const preparing = "preparing"

// prepareTime bounds the preparation of a server, and what takes it back where it fails.
const prepareTime = 2 * time.Minute

// setUpServer prepares a server that nobody has prepared, as berth init --auto does, or goes on with that. It takes its time, also where the user does not wait.
func (s *Service) setUpServer() error {
	s.first.Lock()
	defer s.first.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), prepareTime)
	defer cancel()
	admin := s.admin.WithContext(ctx)
	mark := filepath.Join(s.root, "users", preparing)
	if _, err := os.Stat(mark); errors.Is(err, fs.ErrNotExist) {
		pools, err := admin.StoragePools()
		if err != nil || len(pools) > 0 {
			return err
		}
		if err := durable.WriteFile(mark, 0o600, func(*os.File) error { return nil }); err != nil {
			return err
		}
	}
	err := initcmd.Run(admin, &initcmd.Options{Auto: true, NetworkPort: -1, StorageLoop: -1}, nil, &initcmd.Questions{Out: io.Discard, Err: io.Discard})
	if err != nil {
		return err
	}
	return errors.Join(os.Remove(mark), durable.Dir(filepath.Dir(mark)))
}

// makeProject makes a project for which holds what LXD allows its users. One that is there, prepared by the administrator, must be restricted.
func (s *Service) makeProject(ctx context.Context, admin *client.Client, a *account) error {
	known, _, err := admin.ProjectByName(a.project())
	if err == nil && !config.IsTrue(known.Config["restricted"]) {
		return errors.New("there is a project of that name which is not restricted")
	}
	if !api.IsNotFound(err) {
		return err
	}
	settings := map[string]string{
		"features.images": "true", "features.networks": "false", "features.profiles": "true", "features.storage.volumes": "true",
		"restricted":                    "true",
		"restricted.containers.nesting": "allow",
		"restricted.devices.gpu":        "allow",
	}
	home, err := s.ownHome(ctx, a)
	if err != nil {
		return err
	}
	if home != "" {
		settings["restricted.devices.disk"], settings["restricted.devices.disk.paths"] = "allow", home
	}
	if a.uid != 0 {
		settings[allowedUID], settings[allowedGID] = decimal(a.uid), decimal(a.gid)
	}
	return admin.CreateProject(api.ProjectsPost{Name: a.project(), ProjectPut: api.ProjectPut{
		Description: fmt.Sprintf("User restricted project for %q (%d)", a.name, a.uid), Config: settings, // LXD's words
	}})
}

const allowedUID, allowedGID = "restricted.idmap.uid", "restricted.idmap.gid"

func decimal(id uint32) string { return strconv.FormatUint(uint64(id), 10) }

// fillProfile gives the project's default profile, if nobody has given it anything, what the server's default profile has to start from, and
// the user's IDs inside, where the project allows it.
func fillProfile(admin *client.Client, a *account) error {
	own := admin.UseProject(a.project())
	profile, etag, err := own.Profile(api.ProjectDefault)
	if err != nil || len(profile.Config)+len(profile.Devices) > 0 {
		return err
	}
	put := profile.ProfilePut
	if put.Devices, err = devices(admin); err != nil {
		return err
	}
	project, _, err := admin.ProjectByName(a.project())
	if err != nil {
		return err
	}
	if project.Config[allowedUID] == decimal(a.uid) && project.Config[allowedGID] == decimal(a.gid) {
		put.Config = map[string]string{"raw.idmap": fmt.Sprintf("uid %d %d\ngid %d %d", a.uid, a.uid, a.gid, a.gid)}
	}
	return own.UpdateProfile(api.ProjectDefault, put, etag)
}

// devices are a root disk on the pool, and a NIC on the network, of the server's default profile; without it those that there are.
func devices(admin *client.Client) (map[string]map[string]string, error) {
	shared, _, err := admin.UseProject(api.ProjectDefault).Profile(api.ProjectDefault)
	if err != nil {
		return nil, err
	}
	made := map[string]map[string]string{}
	pool := ""
	for name, d := range shared.Devices {
		switch {
		case d["type"] == "disk" && d["path"] == "/":
			pool = d["pool"]
		case d["type"] == "nic" && d["network"] != "":
			made[name] = map[string]string{"type": "nic", "name": d["name"], "network": d["network"]}
			if d["name"] == "" {
				delete(made[name], "name")
			}
		}
	}
	if pool == "" {
		pools, err := admin.StoragePools()
		if err != nil {
			return nil, err
		}
		if len(pools) == 0 {
			return nil, errors.New("there is no storage pool")
		}
		pool = pools[0].Name
	}
	made["root"] = map[string]string{"type": "disk", "path": "/", "pool": pool}
	return made, nil
}

// trust lets the holder of a certificate into the project.
func trust(admin *client.Client, a *account, cert, fingerprint string, known *api.Certificate, etag string) error {
	if known == nil {
		return admin.CreateCertificate(api.CertificatesPost{CertificatePut: api.CertificatePut{
			Name: fmt.Sprintf("berth-user-%d", a.uid), Type: "client", Restricted: true, Projects: []string{a.project()}, Certificate: cert,
		}})
	}
	if slices.Contains(known.Projects, a.project()) {
		return nil
	}
	put := known.CertificatePut
	put.Projects = append(put.Projects, a.project())
	return admin.UpdateCertificate(fingerprint, put, etag)
}
