package daemon

import (
	"net/http"
	"net/url"

	"golang.org/x/net/http/httpproxy"
)

// proxy says through which proxy a request goes: core.proxy_* where set, else the environment's.
func (d *Daemon) proxy(req *http.Request) (*url.URL, error) {
	conf := httpproxy.FromEnvironment()
	for key, value := range map[string]*string{
		"core.proxy_http": &conf.HTTPProxy, "core.proxy_https": &conf.HTTPSProxy, "core.proxy_ignore_hosts": &conf.NoProxy,
	} {
		if set := d.config.Get(key); set != "" {
			*value = set
		}
	}
	return conf.ProxyFunc()(req.URL)
}
