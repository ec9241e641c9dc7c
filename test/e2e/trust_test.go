package e2e

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/test/harness"
)

// newcomer is a client with a configuration of its own.
type newcomer struct {
	t       *testing.T
	d       *harness.Daemon
	program string
	conf    string
}

func newNewcomer(t *testing.T, d *harness.Daemon, program string) *newcomer {
	return &newcomer{t: t, d: d, program: program, conf: t.TempDir()}
}

// try runs the client in the daemon's network namespace.
func (n *newcomer) try(args ...string) (string, error) {
	return n.d.Try("nsenter", append([]string{"--net=/run/netns/" + n.d.NS, "env", "BERTH_CONF=" + n.conf, "LXD_CONF=" + n.conf, n.program}, args...)...)
}

func (n *newcomer) must(args ...string) string {
	n.t.Helper()
	out, err := n.try(args...)
	if err != nil {
		n.t.Fatalf("%s %s: %v %s\n%s", filepath.Base(n.program), strings.Join(args, " "), err, out, n.d.Log())
	}
	return out
}

func (n *newcomer) refused(what string, args ...string) {
	n.t.Helper()
	if out, err := n.try(args...); err == nil {
		n.t.Errorf("%s: %s", what, out)
	}
	if out := n.must("remote", "list", "--format", "csv"); strings.Contains(out, "there,") {
		n.t.Errorf("%s, and the remote is there: %s", what, out)
	}
}

func changeToken(t *testing.T, text string, change func(*api.CertificateAddToken)) string {
	t.Helper()
	token, err := api.ParseCertificateAddToken(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	change(&token)
	return token.String()
}

// TestClientsJoinByToken lets each of both clients in by a token that either has made, once.
func TestClientsJoinByToken(t *testing.T) {
	d := harness.New(t)
	overTLS(t, d)
	d.Berth("config", "unset", "core.trust_password")
	berth, stock := harness.Program("berth"), harness.StockClient(t)
	for _, program := range []string{berth, stock} {
		t.Run(filepath.Base(program), func(t *testing.T) {
			newToken := func() string {
				if program == stock {
					return strings.TrimSpace(d.Berth("config", "trust", "add", "--name", "joiner", "--quiet"))
				}
				return strings.TrimSpace(d.Stock("config", "trust", "add", "--name", "joiner", "--quiet"))
			}
			// Each attempt is that of another client: lxc keeps the certificate of a server that it then does not add, and believes it from then on.
			refused := func(what, token string) {
				t.Helper()
				newNewcomer(t, d, program).refused(what, "remote", "add", "there", token)
			}
			revoked := newToken()
			d.Berth("config", "trust", "revoke-token", "joiner")
			refused("a token that was revoked", revoked)
			token := newToken()
			for _, list := range []string{d.Berth("config", "trust", "list-tokens", "--format", "csv"), d.Stock("config", "trust", "list-tokens", "--format", "csv")} {
				if list != "joiner,"+token+",\n" {
					t.Errorf("%q instead of %s", list, token)
				}
			}
			refused("another server", changeToken(t, token, func(c *api.CertificateAddToken) { c.Fingerprint = strings.Repeat("0", 64) }))
			refused("another secret", changeToken(t, token, func(c *api.CertificateAddToken) { c.Secret = "0" }))
			d.Restart() // a daemon that ends takes no token with it
			n := newNewcomer(t, d, program)
			// Nobody listens on port 1.
			n.must("remote", "add", "there", changeToken(t, token, func(c *api.CertificateAddToken) { c.Addresses = append([]string{"127.0.0.1:1"}, c.Addresses...) }))
			n.must("list", "there:")
			if out := n.must("config", "trust", "list", "there:", "--format", "csv"); !strings.Contains(out, "client,joiner,") {
				t.Errorf("%s", out)
			}
			if left := d.Berth("config", "trust", "list-tokens", "--format", "csv"); left != "" {
				t.Errorf("left: %s", left)
			}
			refused("a token that was used", token)
			d.Berth("config", "trust", "remove", fingerprintOf(t, n.conf+"/client.crt"))
			if _, err := n.try("list", "there:"); err == nil {
				t.Error("it is still let in")
			}
		})
	}
}

func fingerprintOf(t *testing.T, file string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", "openssl x509 -in "+file+" -outform der | sha256sum").Output()
	if err != nil || len(out) < 64 {
		t.Fatal(err)
	}
	return string(out[:64])
}

// TestOfTwoWithOneTokenOneGetsIn, and the other is told so.
func TestOfTwoWithOneTokenOneGetsIn(t *testing.T) {
	d := harness.New(t)
	overTLS(t, d)
	token := strings.TrimSpace(d.Berth("config", "trust", "add", "--name", "two", "--quiet"))
	var results [4]error
	var all sync.WaitGroup
	for i, program := range []string{harness.Program("berth"), harness.StockClient(t), harness.Program("berth"), harness.StockClient(t)} {
		n := newNewcomer(t, d, program)
		n.must("remote", "list") // lxc greets on its first run
		all.Go(func() { _, results[i] = n.try("remote", "add", "there", token) })
	}
	all.Wait()
	in := 0
	for _, err := range results {
		if err == nil {
			in++
		}
	}
	if trusted := strings.Count(d.Berth("config", "trust", "list", "--format", "csv"), "\n"); in != 1 || trusted != 1 {
		t.Errorf("%d got in, %d are trusted: %v", in, trusted, results)
	}
}

// TestATokenIsTypedWhereAPasswordWould be, or given with an address, as where the server does not know its own.
func TestATokenIsTypedWhereAPasswordWouldBe(t *testing.T) {
	d := harness.New(t)
	addr, _ := overTLS(t, d)
	newToken := func() string { return strings.TrimSpace(d.Berth("config", "trust", "add", "--name", "x", "--quiet")) }
	elsewhere := func(c *api.CertificateAddToken) { c.Addresses = []string{"127.0.0.1:1"} }
	n := newNewcomer(t, d, harness.Program("berth"))
	n.must("remote", "add", "there", addr, "--accept-certificate", "--password", newToken())
	n.must("list", "there:")
	n = newNewcomer(t, d, harness.Program("berth"))
	n.must("remote", "add", "there", addr, "--token", changeToken(t, newToken(), elsewhere))
	n.must("list", "there:")
	n = newNewcomer(t, d, harness.Program("berth"))
	n.must("remote", "add", newToken()) // under the name of its host
	n.must("list", "127.0.0.1:")
	n = newNewcomer(t, d, harness.Program("berth"))
	other := changeToken(t, newToken(), func(c *api.CertificateAddToken) { c.Fingerprint = strings.Repeat("0", 64) })
	n.refused("a token of another server, sent to this one", "remote", "add", "there", addr, "--accept-certificate", "--password", other)
	n.refused("a token of another server, with an address", "remote", "add", "there", addr, "--token", other)
	n.refused("no token", "remote", "add", "there", addr, "--token", base64.StdEncoding.EncodeToString([]byte("{}")))
}

// TestTheAuthorityOfClientsAndServers has all of the PKI mode: who is not of the authority stays out, who was revoked goes, and clients know
// servers by it.
func TestTheAuthorityOfClientsAndServers(t *testing.T) {
	d := harness.Prepare(t)
	dir := t.TempDir()
	sh := func(script string) {
		t.Helper()
		if out, err := exec.Command("sh", "-ec", "cd "+dir+"\n"+script).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	sh(`key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
		printf '[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\ncrlnumber=number\nnew_certs_dir=.\ncertificate=ca.crt\nprivate_key=ca.key\ndefault_md=sha256\ndefault_days=2\ndefault_crl_days=2\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n[client]\nextendedKeyUsage=clientAuth\n[server]\nextendedKeyUsage=serverAuth\nsubjectAltName=IP:127.0.0.1\n' >cnf
		: >index; echo 01 >serial; echo 01 >number
		openssl req -x509 -days 2 -subj /CN=ca -keyout ca.key -out ca.crt $key
		for name in client server; do
			openssl req -new -subj /CN=$name -keyout $name.key -out $name.csr $key
			openssl ca -batch -config cnf -extensions $name -in $name.csr -out $name.crt -notext
		done
		openssl ca -config cnf -gencrl -out none.crl
		openssl ca -config cnf -revoke client.crt
		openssl ca -config cnf -gencrl -out one.crl
		cp ca.crt ` + d.Dir + `/server.ca; cp server.crt server.key ` + d.Dir + `; cp none.crl ` + d.Dir + `/ca.crl`)
	d.Start()
	addr, _ := overTLS(t, d)
	d.Berth("config", "set", "core.trust_ca_certificates", "true")
	for _, program := range []string{harness.Program("berth"), harness.StockClient(t)} {
		t.Run(filepath.Base(program), func(t *testing.T) {
			stranger := newNewcomer(t, d, program)
			stranger.refused("no certificate of the authority", "remote", "add", "there", "https://"+addr, "--accept-certificate", "--password", "sesame")
			n := newNewcomer(t, d, program)
			sh("cp client.crt client.key " + n.conf + "; cp ca.crt " + n.conf + "/client.ca; cp none.crl " + d.Dir + "/ca.crl")
			n.must("remote", "add", "there", "https://"+addr) // nobody is asked about the server's certificate, nor for a password
			n.must("list", "there:")
			if _, err := os.Stat(n.conf + "/servercerts/there.crt"); err == nil {
				t.Error("the certificate of a server is kept that the authority vouches for")
			}
			sh("cp one.crl " + d.Dir + "/crl.new; mv " + d.Dir + "/crl.new " + d.Dir + "/ca.crl")
			harness.Eventually(t, harness.Slow(10*time.Second), "the client that was revoked is out", func() bool {
				_, err := n.try("list", "there:")
				return err != nil
			})
			n.must("remote", "remove", "there")
			n.refused("a client that was revoked, with the password", "remote", "add", "there", "https://"+addr, "--password", "sesame")
		})
	}
}
