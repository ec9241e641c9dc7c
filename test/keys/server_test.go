package keys_test

import (
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/berthd/berth/internal/serverconfig"
	"github.com/berthd/berth/test/harness"
)

// Observers of the server ask it on its socket and, in its own network namespace, over TLS.
const servers = `
put() { $BERTH config set "$@"; }
drop() { for k; do $BERTH config unset $k; done; }
page() { curl -si --unix-socket $DIR/unix.socket -H 'Origin: https://ui' http://berth/1.0; }
tls() { put core.https_address=127.0.0.1:18443; curl -sk "$@" https://127.0.0.1:18443/1.0; drop core.https_address; }
fetched() { # URL: what a proxy gets to see while the server fetches it
	socat TCP-LISTEN:18080,bind=127.0.0.1,reuseaddr,fork SYSTEM:"head -n1 >>$DIR/seen" 2>/dev/null & proxy=$!
	: >$DIR/seen; until_true sh -c 'ss -ltn | grep -q 127.0.0.1:18080'
	$BERTH query --wait -X POST -d '{"source":{"type":"url","url":"'$1'"}}' /1.0/images >/dev/null 2>&1
	kill $proxy; cat $DIR/seen; rm $DIR/seen
}
`

var serverEntries = []entry{
	{key: "core.https_address", sh: `tls`, want: `"auth": ?"untrusted"`},
	{key: "core.debug_address", sh: `put core.debug_address=127.0.0.1:18444; curl -s http://127.0.0.1:18444/debug/pprof/cmdline | tr '\0' ' '; drop core.debug_address; curl -s http://127.0.0.1:18444/ || echo gone`, want: `berthd.*gone\n$`},
	{key: "core.https_trusted_proxy", sh: `put core.https_address=127.0.0.1:18443; behind() { curl -sk --haproxy-protocol https://127.0.0.1:18443/1.0 || echo refused; }; behind; put core.https_trusted_proxy=::1,127.0.0.1; behind; drop core.https_trusted_proxy core.https_address`, want: `^refused\n.*"auth": ?"untrusted"`},
	{key: "core.remote_token_expiry", sh: `put core.https_address=127.0.0.1:18443; for age in "" 2H; do put core.remote_token_expiry=$age; $BERTH config trust add --name keys -q | base64 -d; $BERTH config trust revoke-token keys; done; drop core.remote_token_expiry core.https_address`, want: `(?s)"expires_at":"0001-.*"expires_at":"2`},
	{key: "core.https_allowed_origin", sh: `put core.https_allowed_origin=https://ui; page; drop core.https_allowed_origin; page | grep -c Allow-Origin`, want: `Access-Control-Allow-Origin: https://ui\r?\n.*\n0\n$`},
	{key: "core.https_allowed_methods", sh: `put core.https_allowed_origin=https://ui core.https_allowed_methods=PURGE; page; drop core.https_allowed_origin core.https_allowed_methods`, want: `Access-Control-Allow-Methods: PURGE`},
	{key: "core.https_allowed_headers", sh: `put core.https_allowed_origin=https://ui core.https_allowed_headers=X-Keys; page; drop core.https_allowed_origin core.https_allowed_headers`, want: `Access-Control-Allow-Headers: X-Keys`},
	{key: "core.https_allowed_credentials", sh: `put core.https_allowed_origin=https://ui core.https_allowed_credentials=true; page; drop core.https_allowed_origin core.https_allowed_credentials`, want: `Access-Control-Allow-Credentials: true`},
	{key: "core.metrics_address", sh: `put core.metrics_address=127.0.0.1:19100; curl -sk -o /dev/null -w '%{http_code}\n' https://127.0.0.1:19100/1.0/metrics https://127.0.0.1:19100/1.0; drop core.metrics_address; curl -sk https://127.0.0.1:19100/ || echo gone`, want: `^403\n.*404\ngone\n`},
	{key: "core.metrics_authentication", sh: `put core.metrics_address=127.0.0.1:19100 core.metrics_authentication=false; curl -sk https://127.0.0.1:19100/1.0/metrics | grep -c '^lxd_uptime'; drop core.metrics_authentication; curl -sk https://127.0.0.1:19100/1.0/metrics | grep -o '"error_code":403'; drop core.metrics_address`, want: `^1\n"error_code":403`},
	{key: "core.proxy_http", sh: `put core.proxy_http=http://127.0.0.1:18080; fetched http://192.0.2.77/image; drop core.proxy_http`, want: `http://192.0.2.77/image`},
	{key: "core.proxy_https", sh: `put core.proxy_https=http://127.0.0.1:18080; fetched https://192.0.2.77/image; drop core.proxy_https`, want: `CONNECT 192.0.2.77:443`},
	{key: "core.proxy_ignore_hosts", sh: `put core.proxy_http=http://127.0.0.1:18080 core.proxy_ignore_hosts=192.0.2.77; fetched http://192.0.2.77/image; fetched http://192.0.2.78/image; drop core.proxy_http core.proxy_ignore_hosts`, want: `^\S+ http://192.0.2.78/image[^\n]*\n$`},
	{key: "core.trust_ca_certificates", sh: `tls --cert $DIR/../by-ca.crt --key $DIR/../by-ca.key; put core.trust_ca_certificates=true; tls --cert $DIR/../by-ca.crt --key $DIR/../by-ca.key; drop core.trust_ca_certificates`, want: `"auth": ?"untrusted".*"auth": ?"trusted"`},
	{key: "core.trust_password", sh: `mv $DIR/server.ca $DIR/away; put core.trust_password=walked core.https_address=127.0.0.1:18443; for p in wrong walked; do $BERTH remote add keys$p https://127.0.0.1:18443 --accept-certificate --password $p; done; $BERTH remote list --format csv; $BERTH remote remove keyswalked; drop core.trust_password core.https_address; mv $DIR/away $DIR/server.ca`, want: `(?i)error.*keyswalked`},
	{key: "images.auto_update_cached", reason: "it is for images that other servers change, after hours: internal/image does it with a clock of its own (TestCachedImagesAreUpdatedAndDropped)"},
	{key: "images.auto_update_interval", reason: "it is for images that other servers change, after hours: internal/image does it with a clock of its own (TestCachedImagesAreUpdatedAndDropped)"},
	{key: "images.remote_cache_expiry", reason: "it counts days: internal/image does it with a clock of its own (TestCachedImagesAreUpdatedAndDropped)"},
	{key: "images.compression_algorithm", sh: `put images.compression_algorithm=zstd; $BERTH publish c --alias packed >/dev/null; od -An -tx1 -N4 $DIR/images/$($BERTH query /1.0/images/aliases/packed | sed -n 's/.*"target": *"\(.*\)".*/\1/p'); drop images.compression_algorithm; $BERTH image delete packed`, want: `^ 28 b5 2f fd\n`},
	{key: "images.default_architecture", sh: `mkdir -p $DIR/arch/rootfs; for a in x86_64 i686; do printf 'architecture: %s\ncreation_date: 1\nproperties: {kind: keys}\n' $a >$DIR/arch/metadata.yaml; tar -C $DIR/arch -cf $DIR/arch.tar metadata.yaml rootfs; $BERTH image import $DIR/arch.tar --alias $a >/dev/null; done
		for a in x86_64 i686; do put images.default_architecture=$a; $BERTH query --wait -X POST -d '{"name":"is-'$(echo $a | tr -d _)'","source":{"type":"image","properties":{"kind":"keys"}}}' /1.0/instances >/dev/null; done; $BERTH list is- -c na --format csv; $BERTH delete is-x8664 is-i686; $BERTH image delete x86_64 i686; drop images.default_architecture; rm -r $DIR/arch $DIR/arch.tar`, want: `is-i686,i686\nis-x8664,x86_64\n`},
	{key: "user.*", sh: `put user.keys=walked; $BERTH config get user.keys; drop user.keys`, want: `^walked\n`},
	{key: "core.shutdown_timeout", sh: `cat $DIR/down`, want: `^at once`},
}

func TestEveryKeyOfTheServer(t *testing.T) {
	complete(t, serverconfig.Keys, serverEntries)
	d := harness.Prepare(t)
	w := &world{d}
	w.authority(t)
	d.Start()
	d.Pool().Image()
	w.Berth("init", "bb", "c")
	last := len(serverEntries) - 1
	running := slices.Clone(serverEntries[:last])
	for n := range running {
		if running[n].sh != "" {
			running[n].sh = servers + running[n].sh
		}
	}
	w.observe(t, running)
	w.hurry(t)
	w.observe(t, serverEntries[last:])
	w.Berth("delete", "-f", "c")
}

// authority makes server.ca and a client's certificate that it has signed.
func (w *world) authority(t *testing.T) {
	t.Helper()
	out := w.sh(t, "", `cd $DIR/.. && key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes" &&
		openssl req -x509 -days 2 -subj /CN=ca -keyout ca.key -out d/server.ca $key 2>&1 &&
		openssl req -new -subj /CN=client -keyout by-ca.key -out by-ca.csr $key 2>&1 &&
		openssl x509 -req -days 2 -in by-ca.csr -CA d/server.ca -CAkey ca.key -CAcreateserial -out by-ca.crt 2>&1 && echo made`)
	if len(out) < 5 || out[len(out)-5:] != "made\n" {
		t.Fatal(out)
	}
}

// hurry shuts the daemon down while an operation goes on, which core.shutdown_timeout gives five minutes unless it is set.
func (w *world) hurry(t *testing.T) {
	t.Helper()
	w.Berth("config", "set", "core.shutdown_timeout", "0")
	w.Berth("start", "c")
	if out := w.sh(t, "c", `$BERTH query -X POST -d '{"command":["sleep","600"],"environment":{},"wait-for-websocket":false}' /1.0/instances/c/exec`); out == "" {
		t.Fatal("no operation")
	}
	begun := time.Now()
	down := exec.Command(harness.Program("berthd"), "shutdown")
	down.Env = w.Environ()
	if out, err := down.CombinedOutput(); err != nil {
		t.Errorf("berthd shutdown: %v: %s", err, out)
	}
	w.WaitEnd(4 * time.Minute)
	took := time.Since(begun)
	w.Start()
	speed := "after " + took.String()
	if took < harness.Slow(time.Minute) {
		speed = "at once"
	}
	w.note(t, "down", speed)
}
