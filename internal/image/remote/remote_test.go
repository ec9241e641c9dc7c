package remote

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/fetch"
)

func TestFetch(t *testing.T) {
	fingerprint := strings.Repeat("ab", 32)
	answer := func(w http.ResponseWriter, status int, message string, v any) {
		raw, _ := json.Marshal(v)
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": message, "error_code": status, "metadata": json.RawMessage(raw)})
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/1.0/images/aliases/web":
			answer(w, 200, "", api.ImageAliasesEntry{ImageAliasesEntryPut: api.ImageAliasesEntryPut{Target: fingerprint}})
		case r.URL.Path == "/1.0/images/"+fingerprint && r.URL.Query().Get("secret") == "s":
			answer(w, 200, "", api.Image{Fingerprint: fingerprint})
		case r.URL.Path == "/1.0/images/bad":
			answer(w, 200, "", api.Image{Fingerprint: "../../etc"})
		case r.URL.Path == "/1.0/images/moved":
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
		case strings.HasSuffix(r.URL.Path, "/export"):
			w.Header().Set("Content-Type", "application/octet-stream")
			_, _ = io.WriteString(w, "image")
		default:
			answer(w, 404, "Image not found", nil)
		}
	}))
	defer server.Close()
	server.Config.ErrorLog = nil
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	ctx, c := fetch.WithPolicy(context.Background(), fetch.Policy{Private: true}), &Client{}
	src := api.ImagesPostSource{ImageSource: api.ImageSource{Server: server.URL, Certificate: cert, Alias: "web"}, Secret: "s"}
	if _, err := c.Describe(context.Background(), src); !errors.Is(err, fetch.ErrForbidden) {
		t.Errorf("a caller without rights reaches loopback: %v", err)
	}
	img, err := c.Describe(ctx, src)
	if err != nil || img.Fingerprint != fingerprint {
		t.Fatal(img, err)
	}
	body, kind, err := c.Export(ctx, src, fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if data, _ := io.ReadAll(body); string(data) != "image" || kind != "application/octet-stream" {
		t.Fatal(string(data), kind)
	}
	for name, change := range map[string]func(*api.ImagesPostSource){
		"another certificate":  func(s *api.ImagesPostSource) { s.Certificate = otherCertificate(t) },
		"unknown authority":    func(s *api.ImagesPostSource) { s.Certificate = "" },
		"no certificate":       func(s *api.ImagesPostSource) { s.Certificate = "x" },
		"plain http":           func(s *api.ImagesPostSource) { s.Server = strings.Replace(s.Server, "https", "http", 1) },
		"path in the server":   func(s *api.ImagesPostSource) { s.Server += "/x" },
		"wrong secret":         func(s *api.ImagesPostSource) { s.Secret = "z" },
		"hostile fingerprint":  func(s *api.ImagesPostSource) { s.Fingerprint = "bad" },
		"redirect":             func(s *api.ImagesPostSource) { s.Fingerprint = "moved" },
		"neither alias nor fp": func(s *api.ImagesPostSource) { s.Alias = "" },
	} {
		bad := src
		change(&bad)
		if img, err := c.Describe(ctx, bad); err == nil {
			t.Errorf("%s: got %+v", name, img)
		} else if strings.Contains(err.Error(), "secret=") {
			t.Errorf("%s: the error tells the secret: %v", name, err)
		}
	}
}

func otherCertificate(t *testing.T) string {
	t.Helper()
	key, err := selfSigned()
	if err != nil {
		t.Fatal(err)
	}
	return key
}
