package serverconfig

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/expiry"
)

// Keys is the daemon's own configuration.
var Keys = config.NewTable(config.ServerWords, append(ImageKeys(),
	config.Key{Name: "core.debug_address", Validate: config.IsListenAddress, Live: true, Doc: "Address, or address and port, on which anybody may read profiles of the daemon (pprof, over HTTP); unset: on none"},
	config.Key{Name: "core.https_address", Validate: config.IsListenAddress, Live: true, Doc: "Address, or address and port, on which the API answers over the network; unset: on none"},
	config.Key{Name: "core.https_allowed_credentials", Type: config.Bool, Live: true, Doc: "Let browsers send credentials from pages of the allowed origin"},
	config.Key{Name: "core.https_allowed_headers", Validate: config.OneLine, Live: true, Doc: "Access-Control-Allow-Headers for pages of the allowed origin"},
	config.Key{Name: "core.https_allowed_methods", Validate: config.OneLine, Live: true, Doc: "Access-Control-Allow-Methods for pages of the allowed origin"},
	config.Key{Name: "core.https_allowed_origin", Validate: config.OneLine, Live: true, Doc: "Origin whose pages may use the API: https://host[:port]"},
	config.Key{Name: "core.https_trusted_proxy", Validate: isAddresses, Live: true, Doc: "IP addresses, with commas between them, of proxies that tell by the PROXY protocol whose connections they hand on"},
	config.Key{Name: "core.metrics_address", Validate: config.IsListenAddress, Live: true, Doc: "Address, or address and port, that answers with metrics alone; unset: none. The port is 9100 unless one is given"},
	config.Key{Name: "core.metrics_authentication", Type: config.Bool, Default: "true", Live: true, Doc: "Give metrics to trusted clients only"},
	config.Key{Name: "core.proxy_http", Validate: config.OneLine, Live: true, Doc: "Proxy by which the daemon fetches http:// addresses; unset: that of its environment"},
	config.Key{Name: "core.proxy_https", Validate: config.OneLine, Live: true, Doc: "Proxy by which the daemon fetches https:// addresses; unset: that of its environment"},
	config.Key{Name: "core.proxy_ignore_hosts", Validate: config.OneLine, Live: true, Doc: "Hosts that the daemon reaches without a proxy, with commas between them; unset: those of its environment"},
	config.Key{Name: "core.remote_token_expiry", Validate: isExpiry, Live: true, Doc: "How long a token for clients is good: such as 1d 12H; unset: until it is used"},
	config.Key{Name: "core.shutdown_timeout", Type: config.Integer, Default: "5", Live: true, Doc: "Minutes that a shutdown waits for operations to end"},
	config.Key{Name: "core.trust_ca_certificates", Type: config.Bool, Live: true, Doc: "Trust all clients whose certificate is of the authority in server.ca"},
	config.Key{Name: passwordKey, Hidden: true, Live: true, Doc: "Password that makes an untrusted client trusted"},
	config.Key{Name: "user.*", Live: true, Doc: "Free for users; has no effect"},
)...)

// ImageKeys are the keys of images, which projects have for themselves, too.
func ImageKeys() []config.Key {
	return []config.Key{
		{Name: "images.auto_update_cached", Type: config.Bool, Default: "true", Live: true, Doc: "Bring images up to date that were fetched for an instance"},
		{Name: "images.auto_update_interval", Type: config.Integer, Default: "6", Live: true, Doc: "Hours between two searches for newer versions of images; 0: never"},
		{Name: "images.compression_algorithm", Validate: IsCompression, Default: "gzip", Live: true, Doc: "Compression of images that are made here: bzip2, gzip, lzma, xz, zstd, squashfs or none, with options after it"},
		{Name: "images.default_architecture", Values: architectures, Live: true, Doc: "Architecture to prefer where properties match images of several"},
		{Name: "images.remote_cache_expiry", Type: config.Integer, Default: "10", Live: true, Doc: "Days without use after which an image is deleted that was fetched for an instance"},
	}
}

const passwordKey = "core.trust_password"

// architectures are the names that LXD knows.
var architectures = []string{"aarch64", "armv6l", "armv7l", "armv8l", "i686", "mips", "mips64", "ppc", "ppc64", "ppc64le",
	"riscv32", "riscv64", "s390x", "x86_64"}

func isAddresses(value string) error {
	for _, field := range strings.Split(value, ",") {
		if err := config.IsAddress(strings.TrimSpace(field)); err != nil {
			return err
		}
	}
	return nil
}

// TrustedProxies are the addresses of a value of core.https_trusted_proxy.
func TrustedProxies(value string) []netip.Addr {
	if value == "" {
		return nil
	}
	var list []netip.Addr
	for _, field := range strings.Split(value, ",") {
		if a, err := netip.ParseAddr(strings.TrimSpace(field)); err == nil {
			list = append(list, a.Unmap())
		}
	}
	return list
}

func isExpiry(value string) error {
	_, err := expiry.Parse(value)
	return err
}

// IsCompression accepts the name of a compression, with options after it: "gzip -9".
func IsCompression(value string) error {
	name, _, _ := strings.Cut(value, " ")
	switch name {
	case "bzip2", "gzip", "lzma", "xz", "zstd", "squashfs", "none":
		return config.OneLine(value)
	}
	return fmt.Errorf("Invalid compression algorithm %q", value)
}
