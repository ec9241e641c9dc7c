package server

import (
	"crypto/x509"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/certificate"
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
	list := a.svc.List(f)
	if !r.caller.May(access.CanViewIdentities, access.Object{Entity: access.Server}) {
		list = slices.DeleteFunc(list, func(c api.Certificate) bool {
			return !r.caller.May(access.CanView, access.Object{Entity: access.Certificate, Name: c.Fingerprint})
		})
	}
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
		return errNotAuthorized
	}
	return nil
}

func (a certificatesAPI) get(r *Request) Response {
	c, rev, err := a.svc.Get(r.Var("fingerprint"))
	if err != nil {
		return Fail(err)
	}
	return SyncETag(c, ETag(rev))
}

func (a certificatesAPI) put(r *Request) Response {
	var put api.CertificatePut
	if err := r.Decode(&put); err != nil {
		return Fail(err)
	}
	return a.update(r, put)
}

// update changes a certificate. Whoever may only renew their own changes nothing else of it.
func (a certificatesAPI) update(r *Request, put api.CertificatePut) Response {
	if !r.caller.May(access.CanEdit, access.Object{Entity: access.Certificate, Name: r.Var("fingerprint")}) {
		now, _, err := a.svc.Get(r.Var("fingerprint"))
		if err != nil {
			return Fail(err)
		}
		if put.Name != now.Name || put.Type != now.Type || put.Restricted != now.Restricted || !slices.Equal(put.Projects, now.Projects) {
			return Fail(api.Forbidden("Only the certificate can be changed"))
		}
	}
	return a.changed(r, a.svc.Update(r.Context(), r.Var("fingerprint"), put, matches(r)))
}

func (a certificatesAPI) patch(r *Request) Response {
	c, _, err := a.svc.Get(r.Var("fingerprint"))
	if err != nil {
		return Fail(err)
	}
	put := c.CertificatePut
	put.Projects = slices.Clone(put.Projects) // decoding writes into what is there, which is the record's
	if err := r.Decode(&put); err != nil {
		return Fail(err)
	}
	return a.update(r, put)
}

func (a certificatesAPI) remove(r *Request) Response {
	return a.changed(r, a.svc.Delete(r.Context(), r.Var("fingerprint")))
}

// changed ends what callers do by rights that they have no longer.
func (a certificatesAPI) changed(r *Request, err error) Response {
	if err == nil {
		r.server.TrustChanged()
	}
	return done(err)
}
