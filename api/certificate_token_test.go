package api

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const someFingerprint = "1c42c39819b24bbb414aaa6645079fdf6448153071604a1c82c25a7ba60dfeb0"

// ofLXD is a token as LXD 5.0.2 makes it.
const ofLXD = `{"client_name":"tk","fingerprint":"` + someFingerprint + `","addresses":["127.0.0.1:19443","[fd42::1]:8443"],"secret":"4f3b","expires_at":"0001-01-01T00:00:00Z"}`

func TestATokenIsThatOfLXD(t *testing.T) {
	text := base64.StdEncoding.EncodeToString([]byte(ofLXD))
	got, err := ParseCertificateAddToken(text)
	if err != nil {
		t.Fatal(err)
	}
	want := CertificateAddToken{ClientName: "tk", Fingerprint: someFingerprint, Addresses: []string{"127.0.0.1:19443", "[fd42::1]:8443"}, Secret: "4f3b"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.String() != text {
		t.Errorf("it became %s", got)
	}
}

func TestWhatIsNoTokenIsRefused(t *testing.T) {
	swap := func(old, new string) string {
		if !strings.Contains(ofLXD, old) {
			t.Fatalf("no %s", old)
		}
		return base64.StdEncoding.EncodeToString([]byte(strings.Replace(ofLXD, old, new, 1)))
	}
	for text, want := range map[string]string{
		"":                          "unexpected end of JSON",
		"sesame":                    "token",
		"c2VzYW1l":                  "invalid character",
		swap(someFingerprint, "zz"): "fingerprint",
		swap(someFingerprint, someFingerprint[2:]):     "fingerprint",
		swap(`"4f3b"`, `""`):                           "no secret",
		swap("4f3b", strings.Repeat("x", 300)):         "secret is too long",
		swap(`"127.0.0.1:19443","[fd42::1]:8443"`, ""): "no address",
		swap("127.0.0.1:19443", "127.0.0.1"):           "invalid address",
		swap("127.0.0.1:19443", "a@b:1"):               "invalid address",
		swap("127.0.0.1:19443", "a/b:1"):               "invalid address",
		swap("127.0.0.1:19443", `a\u001b[1m:1`):        "invalid address",
		swap("0001-01-01T00:00:00Z", "tomorrow"):       "parsing time",
		strings.Repeat("A", maxToken+4):                "too long",
	} {
		if got, err := ParseCertificateAddToken(text); err == nil || !strings.Contains(err.Error(), want) || got.Secret != "" {
			t.Errorf("%.40s: got %v %v, want %q", text, got, err, want)
		}
	}
}

func FuzzParseCertificateAddToken(f *testing.F) {
	f.Add(base64.StdEncoding.EncodeToString([]byte(ofLXD)))
	f.Add("c2VzYW1l")
	f.Add("e30=")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseCertificateAddToken(text)
		if err != nil {
			return
		}
		again, err := ParseCertificateAddToken(token.String())
		if err != nil {
			if token.ExpiresAt.Year() > 9999 || strings.ContainsRune(token.ClientName+token.Secret, '\ufffd') {
				return
			}
			t.Fatalf("%s became %s: %v", text, token, err)
		}
		if diff := cmp.Diff(token, again, cmp.Comparer(time.Time.Equal)); diff != "" {
			t.Error(diff)
		}
	})
}
