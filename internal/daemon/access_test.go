package daemon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/server"
)

// tenants is a daemon with projects, each with something called "thing", and callers over TLS.
type tenants struct {
	t      *testing.T
	d      *Daemon
	root   string
	shown  map[string]*x509.Certificate // by caller; nil shows none
	prints map[string]string
}

func newTenants(t *testing.T) *tenants {
	t.Helper()
	w := &tenants{t: t, root: t.TempDir(), shown: map[string]*x509.Certificate{"none": nil}, prints: map[string]string{}}
	w.d, _ = run(t, w.root)
	w.must("POST", "/1.0/storage-pools", `{"name":"pool","driver":"dir"}`)
	for _, p := range []string{"a", "b"} {
		w.must("POST", "/1.0/projects", fmt.Sprintf(`{"name":%q}`, p))
	}
	w.must("POST", "/1.0/projects", `{"name":"shares","config":{"features.profiles":"false","features.images":"false","features.storage.volumes":"false"}}`)
	for _, p := range []string{"default", "a", "b"} {
		q := "?project=" + p
		w.must("POST", "/1.0/profiles"+q, `{"name":"thing","devices":{"root":{"type":"disk","path":"/","pool":"pool"}}}`)
		w.must("POST", "/1.0/storage-pools/pool/volumes/custom"+q, `{"name":"thing"}`)
		w.must("POST", "/1.0/instances"+q, `{"name":"thing","source":{"type":"none"},"profiles":["thing"]}`)
	}
	w.trust("a", `"restricted":true,"projects":["a"]`)
	w.trust("ab", `"restricted":true,"projects":["a","b"]`)
	w.trust("shares", `"restricted":true,"projects":["shares"]`)
	w.trust("full", `"restricted":false`)
	w.trust("metrics", "")
	w.shown["untrusted"] = certificateOf(t, "untrusted")
	return w
}

// fine are callers whose rights come of a group, with what that may do.
var fine = map[string]string{
	"fine none":     ``,
	"fine viewer":   `{"entity_type":"project","url":"/1.0/projects/a","entitlement":"viewer"}`,
	"fine operator": `{"entity_type":"project","url":"/1.0/projects/a","entitlement":"operator"}`,
	"fine instance": `{"entity_type":"instance","url":"/1.0/instances/thing?project=a","entitlement":"can_view"}`,
	"fine admin":    `{"entity_type":"server","url":"/1.0","entitlement":"admin"}`,
}

// trustByGroups adds the callers whose rights come of groups.
func (w *tenants) trustByGroups() {
	for name, permission := range fine {
		w.trustFine(name, permission)
	}
}

// trustFine adds a caller in a group of their own.
func (w *tenants) trustFine(name, permissions string) {
	w.t.Helper()
	c := certificateOf(w.t, name)
	w.must("POST", "/1.0/auth/groups", fmt.Sprintf(`{"name":%q,"permissions":[%s]}`, name, permissions))
	w.must("POST", "/1.0/auth/identities/tls", fmt.Sprintf(`{"name":%q,"certificate":%q,"groups":[%q]}`, name, base64.StdEncoding.EncodeToString(c.Raw), name))
	w.shown[name] = c
}

func certificateOf(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// trust adds a caller's certificate.
func (w *tenants) trust(name, rights string) {
	w.t.Helper()
	c := certificateOf(w.t, name)
	kind := "client"
	if name == "metrics" {
		kind = "metrics"
	}
	if rights != "" {
		rights = "," + rights
	}
	w.must("POST", "/1.0/certificates", fmt.Sprintf(`{"type":%q,"name":%q,"certificate":%q%s}`, kind, name, base64.StdEncoding.EncodeToString(c.Raw), rights))
	w.shown[name] = c
	for _, one := range w.d.certs.List(context.Background(), nil) {
		if one.Name == name {
			w.prints[name] = one.Fingerprint
		}
	}
}

// must does something over the socket, and waits for its operation.
func (w *tenants) must(method, path, body string) {
	w.t.Helper()
	status, metadata := request(w.t, w.root, method, path, body)
	if status >= 400 {
		w.t.Fatalf("%s %s: %d %s", method, path, status, metadata)
	}
	if status == http.StatusAccepted {
		var op api.Operation
		if err := json.Unmarshal(metadata, &op); err != nil {
			w.t.Fatal(err)
		}
		if _, metadata = request(w.t, w.root, "GET", "/1.0/operations/"+op.ID+"/wait", ""); json.Unmarshal(metadata, &op) != nil || op.Err != "" {
			w.t.Fatalf("%s %s: %s", method, path, op.Err)
		}
	}
}

// answer is what a caller gets: by the daemon's own server and authenticator, as if the connection had shown the certificate.
func (w *tenants) answer(caller, method, path, body string) (int, string) {
	r := httptest.NewRequest(method, "https://berth"+path, strings.NewReader(body))
	r.TLS = &tls.ConnectionState{}
	if c := w.shown[caller]; c != nil {
		r.TLS.PeerCertificates = []*x509.Certificate{c}
	}
	recorder := httptest.NewRecorder()
	w.d.server.ServeHTTP(recorder, r)
	return recorder.Code, recorder.Body.String()
}

func (w *tenants) get(caller, path string, v any) {
	w.t.Helper()
	status, text := w.answer(caller, "GET", path, "")
	var env api.Response
	if err := json.Unmarshal([]byte(text), &env); err != nil || status != 200 {
		w.t.Fatalf("%s: GET %s: %d %s", caller, path, status, text)
	}
	if err := json.Unmarshal(env.Metadata, v); err != nil {
		w.t.Fatal(err)
	}
}

// refusal is what everybody hears who may not take a route.
const refusal = `"error_code":403,"error":"not authorized"`

// Who may take a route. Each is for callers none, untrusted and metrics nothing.
const (
	onlyFull   = "full rights"
	anyTrusted = "any trusted caller"
	ofProject  = "callers who have the project"
	ofShared   = "callers who have the project, and that in which it keeps such objects"
	ownOnly    = "the certificate's holder"
)

// rows say who may take the routes of each need: a need without a row fails.
var rows = map[access.Entity]map[access.Entitlement]string{
	access.Server: {
		access.Admin: onlyFull, access.CanEdit: onlyFull, access.CanCreateProjects: onlyFull, access.CanCreatePools: onlyFull,
		access.CanViewWarnings: onlyFull, access.CanViewPermissions: onlyFull, access.CanCreateGroups: onlyFull, access.CanCreateIdPGroups: onlyFull,
		access.Authenticated: anyTrusted, access.CanViewResources: anyTrusted,
	},
	access.StoragePool:           {access.CanEdit: onlyFull, access.CanDelete: onlyFull},
	access.Project:               {access.CanView: ofProject, access.CanViewEvents: ofProject, access.CanEdit: onlyFull, access.CanDelete: onlyFull},
	access.Certificate:           {access.CanView: ownOnly, access.CanRenew: ownOnly, access.CanDelete: onlyFull},
	access.Identity:              {access.CanView: onlyFull, access.CanRenew: onlyFull, access.CanDelete: onlyFull},
	access.Group:                 {access.CanView: onlyFull, access.CanEdit: onlyFull, access.CanDelete: onlyFull},
	access.IdentityProviderGroup: {access.CanView: onlyFull, access.CanEdit: onlyFull, access.CanDelete: onlyFull},
	access.Instance: {
		access.CanViewInstances: ofProject, access.CanCreateInstances: ofProject, access.CanOperate: ofProject, access.CanView: ofProject,
		access.CanEdit: ofProject, access.CanDelete: ofProject, access.CanUpdateState: ofProject, access.CanManageSnapshots: ofProject,
		access.CanExec: ofProject, access.CanUseConsole: ofProject, access.CanAccessFiles: ofProject, access.CanConnectSFTP: ofProject,
	},
	access.Image:      {access.CanCreateImages: ofShared, access.CanView: ofProject, access.CanEdit: ofShared, access.CanDelete: ofShared},
	access.ImageAlias: {access.CanCreateAliases: ofShared, access.CanEdit: ofShared, access.CanDelete: ofShared},
	access.Profile: {
		access.CanViewProfiles: ofProject, access.CanCreateProfiles: ofShared, access.CanView: ofProject, access.CanEdit: ofShared, access.CanDelete: ofShared,
	},
	access.Network: { // which all are in the default project
		access.CanViewNetworks: ofProject, access.CanView: ofProject, access.CanCreateNetworks: onlyFull, access.CanEdit: onlyFull, access.CanDelete: onlyFull,
	},
	access.StorageVolume: {
		access.CanViewVolumes: ofProject, access.CanCreateVolumes: ofShared, access.CanView: ofProject, access.CanEdit: ofShared,
		access.CanDelete: ofShared, access.CanManageSnapshots: ofShared,
	},
}

// open are the routes that let everybody in; what they show to whom, tests of their own say.
var open = []string{
	"GET /", "GET /1.0", "POST /1.0/certificates", "POST /1.0/auth/identities/tls", "GET /1.0/images", "GET /1.0/images/{fingerprint}", "GET /1.0/images/{fingerprint}/export",
	"GET /1.0/images/aliases", "GET /1.0/images/aliases/{name...}", "GET /1.0/operations/{id}/wait", "GET /1.0/operations/{id}/websocket", "GET /1.0/metrics",
}

var projectsOf = map[string][]string{"a": {"a"}, "ab": {"a", "b"}, "shares": {"shares"}}

// mayFine says whether a caller whose rights come of a group may take a route. Lists show them what they see, in any project.
func mayFine(need server.Need, who, caller, project, object string) bool {
	switch {
	case caller == "fine admin":
		return true
	case who == anyTrusted:
		return need.May == access.Authenticated
	case need.Rows:
		return true
	case who == onlyFull || who == ownOnly || project != "a":
		return false
	case caller == "fine operator":
		return true
	case caller == "fine viewer":
		return need.May == access.CanView || strings.HasPrefix(string(need.May), "can_view_")
	}
	return caller == "fine instance" && need.On == access.Instance && need.May == access.CanView && object == "thing"
}

// may says whether a caller may take a route of a kind, about a project or the certificate of a holder.
func may(who, caller, project, holder string) bool {
	switch {
	case caller == "full":
		return true
	case projectsOf[caller] == nil || who == onlyFull:
		return false
	case who == anyTrusted:
		return true
	case who == ownOnly:
		return holder == caller
	case !slices.Contains(projectsOf[caller], project):
		return false
	}
	return who == ofProject || project != "shares"
}

// TestTheMatrix asks for each route, by each caller, about each project, and about what is there and what is not. Who may not take it hears the
// same, whatever there is.
func TestTheMatrix(t *testing.T) {
	w := newTenants(t)
	w.trustByGroups()
	callers := slices.Sorted(maps.Keys(w.shown))
	for _, route := range w.d.server.Routes() {
		name := route.Method + " " + route.Path
		if route.Public {
			if !slices.Contains(open, name) {
				t.Errorf("%s lets everybody in, and no row says so", name)
			}
			continue
		}
		if route.Need == (server.Need{}) {
			t.Errorf("%s declares no need", name)
			continue
		}
		who := rows[route.Need.On][route.Need.May]
		if who == "" {
			t.Errorf("%s needs %s on %s, of which no row says who has it", name, route.Need.May, route.Need.On)
			continue
		}
		for _, caller := range callers {
			w.row(name, route, who, caller)
		}
	}
}

// row is one route and one caller.
func (w *tenants) row(name string, route server.Route, who, caller string) {
	for _, project := range []string{"a", "b", "shares", "default", "nope"} {
		for _, object := range []string{"absent", "thing"} {
			holders := []string{""}
			if route.Need.On == access.Certificate {
				holders = []string{"a", "ab", "full", "nobody"}
			}
			for _, holder := range holders {
				want := may(who, caller, project, holder)
				if _, ok := fine[caller]; ok {
					want = mayFine(route.Need, who, caller, project, object)
				}
				there := object == "thing" || route.Need.On == access.Project || w.prints[holder] != ""
				if want && there && route.Method != "GET" {
					continue // it is not for this test to take away what the next cell needs
				}
				path := fill(route, project, object, w.prints[holder])
				status, text := w.answer(caller, route.Method, path, "")
				refused := status == 403 && (strings.Contains(text, refusal) || route.Method == "HEAD")
				if refused == want {
					w.t.Errorf("%s by %s, as %s: %d %s, of which %q", name, caller, path, status, text, who)
				}
			}
		}
	}
}

// fill names objects in a route's path.
func fill(route server.Route, project, object, fingerprint string) string {
	if fingerprint == "" {
		fingerprint = "ffff"
	}
	path := route.Path
	if route.Need.On == access.Project {
		path = strings.ReplaceAll(path, "{name}", project)
	}
	for variable, value := range map[string]string{
		"{pool}": "pool", "{type}": "custom", "{name}": object, "{name...}": object, "{fingerprint}": fingerprint,
		"{snapshot}": object, "{file}": object, "{network}": object, "{id}": object, "{method}": "tls",
	} {
		path = strings.ReplaceAll(path, variable, value)
	}
	return path + "?project=" + project
}
