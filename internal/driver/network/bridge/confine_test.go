package bridge

import (
	"strings"
	"testing"

	"github.com/berthd/berth/internal/apparmor"
)

// Writing to its profile needs no kernel that knows AppArmor.
func TestDnsmasqWritesOnlyWhatIsItsOwn(t *testing.T) {
	text, err := apparmor.New("/").Text(profile("/usr/sbin/dnsmasq", "/v/networks/br0", "5f0c-br0"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, `"/v/`) && strings.Contains(line, "w") && !strings.HasPrefix(line, `"/v/networks/br0/dnsmasq.leases" `) &&
			!strings.HasPrefix(line, `"/v/networks/br0/dnsmasq.pid" `) && !strings.HasSuffix(line, `" r,`) {
			t.Errorf("may be written: %s", line)
		}
	}
	for _, want := range []string{`"/v/networks/br0/**" r,`, `"/usr/sbin/dnsmasq" mrix,`, "capability net_admin,", `"/v/networks/br0/dnsmasq.leases" rwk,`} {
		if !strings.Contains(text, want) {
			t.Errorf("no line %s in\n%s", want, text)
		}
	}
	label, err := confine(t.Context(), "/nonexistent", Config{Dir: "/nonexistent"})
	if label != "" || err != nil {
		t.Errorf("without AppArmor: %q %v", label, err)
	}
}
