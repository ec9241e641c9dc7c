package server

import (
	"crypto/x509"
	"encoding/json"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/certificate"
	"github.com/berthd/berth/internal/request"
)

type certificatesAPI struct{ svc *certificate.Service }

func (a certificatesAPI) routes() []Route {
	if a.svc == nil {
		return nil
	}
	const one = "/1.0/certificates/{fingerprint}"
	return []Route{
		{Method: "GET", Path: "/1.0/certificates", Need: AnyoneTrusted, Handle: a.list},
		{Method: "POST", Path: "/1.0/certificates", Public: true, Handle: a.add},
		{Method: "GET", Path: one, Need: on(access.Certificate, "fingerprint", access.CanView), Handle: a.get},
		{Method: "PUT", Path: one, Need: on(access.Certificate, "fingerprint", access.CanRenew), Handle: a.put},
		{Method: "PATCH", Path: one, Need: on(access.Certificate, "fingerprint", access.CanRenew), Handle: a.patch},
		{Method: "DELETE", Path: one, Need: on(access.Certificate, "fingerprint", access.CanDelete), Handle: a.remove},
	}
}

func (a certificatesAPI) list(r *Request) Response {
	f, err := r.Filter()
	if err != nil {
		return Fail(err)
	}
	list := a.svc.List(r.Context(), f)
	if r.Recursion() > 0 {
		return Sync(list)
	}
	urls := make([]string, 0, len(list))
	for _, c := range list {
		urls = append(urls, certificate.URL(c.Fingerprint))
	}
	return Sync(urls)
}

func (a certificatesAPI) add(r *Request) Response {
	var req api.CertificatesPost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	if err := mayAdd(r, req); err != nil {
		return Fail(err)
	}
	if r.Trusted() && req.Token {
		return a.addToken(r, req)
	}
	var shown *x509.Certificate
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		shown = r.TLS.PeerCertificates[0]
	}
	fingerprint, err := a.svc.Add(r.Context(), req, shown)
	if err != nil {
		return Fail(err)
	}
	return Created(certificate.URL(fingerprint))
}

// mayAdd refuses who is known already, and may not add others.
func mayAdd(r *Request, req api.CertificatesPost) error {
	switch {
	case r.caller.May(access.CanCreateIdentities, access.Object{Entity: access.Server}):
		return nil
	case r.Trusted() && req.Certificate == "" && !req.Token:
		return api.BadRequest("Client is already trusted")
	case r.Trusted() || r.caller.May(access.CanViewMetrics, access.Object{Entity: access.Server}):
		return request.ErrNotAuthorized
	}
	return nil
}

func (a certificatesAPI) get(r *Request) Response {
	c, rev, err := a.svc.Get(r.Context(), r.Var("fingerprint"))
	if err != nil {
		return Fail(err)
	}
	return SyncETag(c, ETag(rev))
}

// addToken answers with an operation that lasts until the token is used. It is of no project: what is in one, others who use that may see.
func (a certificatesAPI) addToken(r *Request, req api.CertificatesPost) Response {
	task, err := a.svc.IssueToken(r.Context(), req)
	if err != nil {
		return Fail(err)
	}
	return AsyncOfServer(task)
}

func (a certificatesAPI) put(r *Request) Response {
	return a.change(r, func(c *api.CertificatePut) { *c = api.CertificatePut{} })
}

func (a certificatesAPI) patch(r *Request) Response { return a.change(r, func(*api.CertificatePut) {}) }

// change decodes the request over what is left of the certificate by base.
func (a certificatesAPI) change(r *Request, base func(*api.CertificatePut)) Response {
	var body json.RawMessage
	if err := r.Decode(&body); err != nil {
		return Fail(err)
	}
	edit := func(c *api.CertificatePut) error {
		base(c)
		if err := json.Unmarshal(body, c); err != nil {
			return api.BadRequest("%w", err)
		}
		return nil
	}
	r.changesRights()
	return a.changed(r, a.svc.Update(r.Context(), r.Var("fingerprint"), edit, matches(r)))
}

func (a certificatesAPI) remove(r *Request) Response {
	r.changesRights()
	return a.changed(r, a.svc.Delete(r.Context(), r.Var("fingerprint")))
}

// changed ends what callers do by rights that they have no longer.
func (a certificatesAPI) changed(r *Request, err error) Response {
	if err == nil {
		r.server.TrustChanged()
	}
	return done(err)
}
