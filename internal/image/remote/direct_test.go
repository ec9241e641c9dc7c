package remote

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/berthd/berth/internal/fetch"
)

func TestDirect(t *testing.T) {
	fingerprint := strings.Repeat("ab", 32)
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/image":
			if r.Header.Get("LXD-Server-Architectures") != "x86_64, i686" {
				http.Error(w, "which architecture?", http.StatusBadRequest)
				return
			}
			w.Header().Set("LXD-Image-Hash", fingerprint)
			w.Header().Set("LXD-Image-URL", server.URL+"/file")
		case "/file":
			_, _ = io.WriteString(w, "image")
		case "/nohash":
			w.Header().Set("LXD-Image-URL", server.URL+"/file")
		case "/nourl":
			w.Header().Set("LXD-Image-Hash", fingerprint)
		case "/badhash":
			w.Header().Set("LXD-Image-Hash", "../../etc")
			w.Header().Set("LXD-Image-URL", server.URL+"/file")
		case "/elsewhere":
			w.Header().Set("LXD-Image-Hash", fingerprint)
			w.Header().Set("LXD-Image-URL", "file:///etc/passwd")
		case "/redirect":
			w.WriteHeader(http.StatusFound) // to nowhere
		case "/moved":
			http.Redirect(w, r, "/image", http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	c := &Client{}
	archs := []string{"x86_64", "i686"}
	ctx := fetch.WithPolicy(context.Background(), fetch.Policy{Private: true})
	if _, _, _, err := c.Direct(context.Background(), server.URL+"/image", archs); !errors.Is(err, fetch.ErrForbidden) {
		t.Errorf("a caller without rights reaches loopback: %v", err)
	}
	body, got, size, err := c.Direct(ctx, server.URL+"/moved", archs)
	if err != nil || got != fingerprint || size != 5 {
		t.Fatal(got, size, err)
	}
	defer body.Close()
	if data, _ := io.ReadAll(body); string(data) != "image" {
		t.Errorf("%q", data)
	}
	for path, want := range map[string]string{
		"/nohash": "Missing LXD-Image-Hash header", "/nourl": "Missing LXD-Image-URL header", "/badhash": "SHA-256",
		"/elsewhere": "not the URL of an image", "/redirect": "302", "/round": "redirects", "/gone": "404",
	} {
		if _, _, _, err := c.Direct(ctx, server.URL+path, archs); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, address := range []string{"", "image", "ftp://h/x", "https://user:pw@h/x"} {
		if _, _, _, err := c.Direct(ctx, address, archs); err == nil {
			t.Errorf("%q is fetched", address)
		}
	}
}
