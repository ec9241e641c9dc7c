package faults

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/berthd/berth/test/harness"
)

// get asks the daemon for an object beneath /1.0/ and tells whether it exists. into may be nil.
func get(d *harness.Daemon, url string, into any) bool {
	d.T.Helper()
	c := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", d.Dir+"/unix.socket")
		},
	}}
	resp, err := c.Get("http://berth/1.0/" + url)
	if err != nil {
		d.T.Fatalf("GET %s: %v\n%s", url, err, d.Log())
	}
	defer resp.Body.Close()
	var answer struct {
		Code     int             `json:"error_code"`
		Error    string          `json:"error"`
		Metadata json.RawMessage `json:"metadata"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		d.T.Fatalf("GET %s: %v", url, err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return false
	default:
		d.T.Errorf("GET %s: %d %s", url, resp.StatusCode, answer.Error)
		return false
	}
	if into != nil {
		if err := json.Unmarshal(answer.Metadata, into); err != nil {
			d.T.Fatalf("GET %s: %v", url, err)
		}
	}
	return true
}

func config(d *harness.Daemon, url string) map[string]string {
	var o struct{ Config map[string]string }
	get(d, url, &o)
	return o.Config
}

func status(d *harness.Daemon, name string) string {
	var o struct{ Status string }
	get(d, "instances/"+name, &o)
	return o.Status
}

type instance struct {
	Name, Status    string
	Config          map[string]string
	ExpandedConfig  map[string]string            `json:"expanded_config"`
	ExpandedDevices map[string]map[string]string `json:"expanded_devices"`
}

func instances(d *harness.Daemon) []instance {
	var all []instance
	get(d, "instances?recursion=1", &all)
	return all
}

// tinyImage is an image with hardly anything in it, for what does not start, and tinyPrint its fingerprint.
var tinyImage, tinyPrint = func() ([]byte, string) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	metadata := "architecture: x86_64\ncreation_date: 1700000000\nproperties:\n  os: tiny\n"
	filling := make([]byte, 256<<10) // that does not compress
	_, _ = rand.NewChaCha8([32]byte{}).Read(filling)
	for _, h := range []*tar.Header{
		{Name: "metadata.yaml", Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(metadata))},
		{Name: "rootfs/", Mode: 0o755, Typeflag: tar.TypeDir},
		{Name: "rootfs/filling", Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(filling))},
	} {
		if err := w.WriteHeader(h); err != nil {
			panic(err)
		}
		switch h.Size {
		case int64(len(metadata)):
			_, _ = w.Write([]byte(metadata))
		case int64(len(filling)):
			_, _ = w.Write(filling)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	sum := sha256.Sum256(out.Bytes())
	return out.Bytes(), hex.EncodeToString(sum[:])
}()

func tiny(t testing.TB, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "tiny.tar")
	if err := os.WriteFile(path, tinyImage, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
