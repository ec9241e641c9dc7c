package server

import (
	"crypto/x509"
	"encoding/json"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/identity"
	"github.com/berthd/berth/internal/request"
)

// identitiesAPI is who may use the API, and by which groups.
type identitiesAPI struct{ svc *identity.Service }

func (a identitiesAPI) routes() []Route {
	if a.svc == nil {
		return nil
	}
	const all, of = "/1.0/auth/identities", "/1.0/auth/identities/{method}"
	const one = of + "/{id}"
	return []Route{
		{Method: "GET", Path: "/1.0/auth/permissions", Need: Need{May: access.CanViewPermissions, On: access.Server}, Handle: a.permissions},
		{Method: "GET", Path: all, Need: AnyoneTrusted, Handle: a.list},
		{Method: "GET", Path: all + "/current", Need: AnyoneTrusted, Handle: a.current},
		{Method: "GET", Path: of, Need: AnyoneTrusted, Handle: a.list},
		{Method: "POST", Path: all + "/tls", Public: true, Handle: a.create},
		{Method: "GET", Path: all + "/tls", Need: AnyoneTrusted, Handle: a.list},
		{Method: "GET", Path: one, Need: on(access.Identity, "id", access.CanView), Handle: a.get},
		{Method: "PUT", Path: one, Need: on(access.Identity, "id", access.CanRenew), Handle: a.put},
		{Method: "PATCH", Path: one, Need: on(access.Identity, "id", access.CanRenew), Handle: a.patch},
		{Method: "DELETE", Path: one, Need: on(access.Identity, "id", access.CanDelete), Handle: a.remove},
	}
}

// permissions lists what can be granted; with recursion, to whom it is.
func (a identitiesAPI) permissions(r *Request) Response {
	list, err := a.svc.Permissions(r.Query("entity-type"), r.Query("project"))
	if err != nil {
		return Fail(err)
	}
	if r.Recursion() > 0 {
		return Sync(list)
	}
	short := make([]api.Permission, len(list))
	for n, p := range list {
		short[n] = p.Permission
	}
	return Sync(short)
}

func (a identitiesAPI) list(r *Request) Response {
	method := r.Var("method")
	if method == "" && r.URL.Path == "/1.0/auth/identities/tls" {
		method = api.AuthTLS
	}
	if method != "" && method != api.AuthTLS && method != api.AuthOIDC {
		return Fail(api.NotFound("not found"))
	}
	list := a.svc.Identities(r.Context(), method)
	if r.Recursion() > 0 {
		return Sync(list)
	}
	urls := make([]string, len(list))
	for n, i := range list {
		urls[n] = access.Object{Entity: access.Identity, Name: i.AuthenticationMethod + "/" + i.Identifier}.URL()
	}
	return Sync(urls)
}

func (a identitiesAPI) current(r *Request) Response {
	info, err := a.svc.Current(r.Context())
	if err != nil {
		return Fail(err)
	}
	return Sync(info)
}

// create makes an identity, or a token for one. A caller who is not trusted has such a token.
func (a identitiesAPI) create(r *Request) Response {
	var req api.IdentitiesTLSPost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	may := r.caller.May(access.CanCreateIdentities, access.Object{Entity: access.Server})
	var id string
	var err error
	switch {
	case !r.Trusted() && !may && r.caller.Protocol == "tls":
		var shown *x509.Certificate
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			shown = r.TLS.PeerCertificates[0]
		}
		id, err = a.svc.Redeem(r.Context(), req.TrustToken, shown)
	case !may:
		err = request.ErrNotAuthorized
	case req.Token:
		token, err := a.svc.IssueToken(r.Context(), req)
		if err != nil {
			return Fail(err)
		}
		return Sync(token)
	default:
		id, err = a.svc.CreateTLS(r.Context(), req)
	}
	if err != nil {
		return Fail(err)
	}
	return Created(access.Object{Entity: access.Identity, Name: api.AuthTLS + "/" + id}.URL())
}

func (a identitiesAPI) get(r *Request) Response {
	i, rev, err := a.svc.Identity(r.Context(), r.Var("method"), r.resolveIdentity("id"))
	if err != nil {
		return Fail(err)
	}
	return SyncETag(i, ETag(rev))
}

func (a identitiesAPI) put(r *Request) Response {
	return a.change(r, func(p *api.IdentityPut) { *p = api.IdentityPut{} })
}

func (a identitiesAPI) patch(r *Request) Response { return a.change(r, func(*api.IdentityPut) {}) }

func (a identitiesAPI) change(r *Request, base func(*api.IdentityPut)) Response {
	edit, err := editor(r, base)
	if err != nil {
		return Fail(err)
	}
	r.changesRights()
	return done(a.svc.Update(r.Context(), r.Var("method"), r.resolveIdentity("id"), edit, matches(r)))
}

func (a identitiesAPI) remove(r *Request) Response {
	r.changesRights()
	return done(a.svc.Delete(r.Context(), r.Var("method"), r.resolveIdentity("id")))
}

// editor makes the change that a request's body asks for: it is decoded over what is left of the object by base.
func editor[T any](r *Request, base func(*T)) (func(*T) error, error) {
	var body json.RawMessage
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	return func(v *T) error {
		base(v)
		if err := json.Unmarshal(body, v); err != nil {
			return api.BadRequest("%w", err)
		}
		return nil
	}, nil
}
