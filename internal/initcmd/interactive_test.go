package initcmd

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAnswersBecomeAPreseed: what is made is what was answered, also where that is not what was offered.
func TestAnswersBecomeAPreseed(t *testing.T) {
	for name, c := range map[string]struct {
		there   []string // objects of the server
		answers string   // in the order of the questions, with blanks between them; "-" is an empty one
		want    string
	}{
		"all as offered": {nil, "- - - - - - - - - - - -", `
networks: [{name: berthbr0, type: bridge, project: default, config: {ipv4.address: auto, ipv6.address: auto}}]
storage_pools: [{name: default, driver: dir}]
profiles: [{name: default, devices: {
  eth0: {type: nic, name: eth0, network: berthbr0}, root: {type: disk, path: /, pool: default}}}]
`},
		"where names are taken": {[]string{"/1.0/storage-pools/default", "/1.0/networks/berthbr0"}, "- - default - - - - berthbr0 - - - - - -", `
networks: [{name: berthbr1, type: bridge, project: default, config: {ipv4.address: auto, ipv6.address: auto}}]
storage_pools: [{name: default1, driver: dir}]
profiles: [{name: default, devices: {
  eth0: {type: nic, name: eth0, network: berthbr1}, root: {type: disk, path: /, pool: default1}}}]
`},
		"nothing as offered": {nil, "no y fast zfs dir no y lan0 10.5.5.1/24 no none y 192.0.2.7 70000 8444 geheim geheim no no", `
config: {core.https_address: "192.0.2.7:8444", core.trust_password: geheim, images.auto_update_interval: "0"}
networks: [{name: lan0, type: bridge, project: default, config: {ipv4.address: 10.5.5.1/24, ipv4.nat: "false", ipv6.address: none}}]
storage_pools: [{name: fast, driver: dir}]
profiles: [{name: default, devices: {
  eth0: {type: nic, name: eth0, network: lan0}, root: {type: disk, path: /, pool: fast}}}]
`},
		"without a pool, on a network that is there": {[]string{"/1.0/networks/lan"}, "no no no no y nowhere lan y all - - - - -", `
config: {core.https_address: "[::]:8443"}
profiles: [{name: default, devices: {eth0: {type: nic, name: eth0, nictype: macvlan, parent: lan}}}]
`},
		"on all addresses of IPv6": {nil, "no no no no no y [fd42::7] 1 - - - -", `
config: {core.https_address: "[fd42::7]:1"}
profiles: [{name: default}]
`},
	} {
		t.Run(name, func(t *testing.T) {
			_, server := newKeeper(t, append(c.there, "/1.0")...)
			lines := strings.ReplaceAll(strings.Join(strings.Fields(c.answers), "\n"), "-", "")
			var out, errs bytes.Buffer
			got, err := interactive(server, Ask(strings.NewReader(lines+"\n"), &out, &errs))
			if err != nil {
				t.Fatalf("%v after %q %q", err, out.String(), errs.String())
			}
			want, err := Parse([]byte(c.want))
			if err != nil {
				t.Fatal(err)
			}
			gotText, gotErr := got.YAML()
			wantText, wantErr := want.YAML()
			if gotErr != nil || wantErr != nil {
				t.Fatal(gotErr, wantErr)
			}
			if diff := cmp.Diff(string(wantText), string(gotText)); diff != "" {
				t.Errorf("%s\n%s", diff, out.String())
			}
		})
	}
}
