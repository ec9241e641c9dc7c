package server

import (
	"crypto/x509"
	"encoding/json"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/certificate"
)

type certificatesAPI struct{ svc *certificate.Service }

func (a certificatesAPI) routes() []Route {
	if a.svc == nil {
		return nil
	}
	const one = "/1.0/certificates/{fingerprint}"
	return []Route{
		{Method: "GET", Path: "/1.0/certificates", Handle: a.list},
		{Method: "POST", Path: "/1.0/certificates", Public: true, Handle: a.add},
		{Method: "GET", Path: one, Handle: a.get},
		{Method: "PUT", Path: one, Handle: a.put},
		{Method: "PATCH", Path: one, Handle: a.patch},
		{Method: "DELETE", Path: one, Handle: a.remove},
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
	return done(a.svc.Update(r.Context(), r.Var("fingerprint"), edit, matches(r)))
}

func (a certificatesAPI) remove(r *Request) Response {
	return done(a.svc.Delete(r.Context(), r.Var("fingerprint")))
}
