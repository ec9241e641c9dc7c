package bridge

import (
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestWholeRange(t *testing.T) {
	for _, test := range [][3]string{
		{"10.1.2.1/24", "10.1.2.2", "10.1.2.254"},
		{"10.1.2.1/30", "10.1.2.2", "10.1.2.2"},
		{"10.1.2.0/31", "10.1.2.1", "10.1.2.1"},
		{"fd42::1/64", "fd42::2", "fd42::ffff:ffff:ffff:ffff"},
	} {
		r := wholeRange(netip.MustParsePrefix(test[0]))
		if r.First.String() != test[1] || r.Last.String() != test[2] {
			t.Errorf("%s: %s-%s, want %s-%s", test[0], r.First, r.Last, test[1], test[2])
		}
	}
}

func TestNewlineNeverReachesDnsmasq(t *testing.T) {
	p := netip.MustParsePrefix("10.1.2.1/24")
	for _, c := range []Config{
		{Name: "br", Domain: "a\nb", IPv4: &Family{Address: p}},
		{Name: "br", Domain: "lxd,10.0.0.0/8,local", IPv4: &Family{Address: p}},
		{Name: "br", Domain: "lxd/198.51.100.1#53", IPv4: &Family{Address: p}},
		{Name: "br", Domain: "lxd\x00", IPv4: &Family{Address: p}},
		{Name: "br", Search: []string{"a\nb"}, IPv4: &Family{Address: p, DHCP: true}},
		{Name: "br", Search: []string{"good", "a b"}, IPv4: &Family{Address: p, DHCP: true}},
		{Name: "br", IPv4: &Family{Address: p, DHCP: true, Expiry: "1h\n"}},
		{Name: "br", IPv4: &Family{Address: p, DHCP: true, Expiry: "1h,set:x"}},
		{Name: "br,lo", IPv4: &Family{Address: p}},
		{Name: "br", Dir: "/a\nb", IPv4: &Family{Address: p}},
	} {
		if args, err := dnsmasqArgs(c); err == nil {
			t.Errorf("accepted %q", args)
		}
	}
	mac, _ := net.ParseMAC("00:16:3e:00:00:01")
	for _, name := range []string{"a,b", "a\nb", "-a", "a b", strings.Repeat("a", 64)} {
		if line, err := (Host{HWAddr: mac, Name: name}).encode(); err == nil {
			t.Errorf("accepted %q", line)
		}
	}
	for _, name := range []string{"", "..", "../x", "a/b", ".x", "a\nb"} {
		if _, err := SetHost(t.TempDir(), name, Host{HWAddr: mac}); err == nil {
			t.Errorf("accepted file name %q", name)
		}
	}
}

const someLeases = `1700000000 00:16:3e:42:e1:c4 10.78.1.77 c1 ff:3e:42
1700000000 00:16:3e:42:e1:c5 10.78.1.78 * *
duid 00:01:00:01:32:94:ef:17:a6:4d:d6:e3:03:75
1700000000 12345 fd42::77 c1 00:01:00:01:2c:aa:bb:cc:00:16:3e:42:e1:c4
1700000000 12346 fd42::78 * 00:03:00:01:00:16:3e:42:e1:c5
garbage
`

func TestParseLeases(t *testing.T) {
	got, err := ParseLeases(strings.NewReader(someLeases))
	if err != nil {
		t.Fatal(err)
	}
	var brief []string
	for _, l := range got {
		brief = append(brief, l.HWAddr+" "+l.Address.String()+" "+l.Hostname)
	}
	want := []string{"00:16:3e:42:e1:c4 10.78.1.77 c1", "00:16:3e:42:e1:c5 10.78.1.78 ",
		"00:16:3e:42:e1:c4 fd42::77 c1", "00:16:3e:42:e1:c5 fd42::78 "}
	if !reflect.DeepEqual(brief, want) {
		t.Fatalf("got %q", brief)
	}
}

func FuzzParseLeases(f *testing.F) {
	f.Add(someLeases)
	f.Fuzz(func(t *testing.T, text string) {
		leases, _ := ParseLeases(strings.NewReader(text))
		for _, l := range leases {
			if !l.Address.IsValid() || strings.ContainsAny(l.Hostname, " \n") {
				t.Fatalf("bad lease %+v", l)
			}
		}
	})
}

func FuzzParseHost(f *testing.F) {
	f.Add("00:16:3e:42:e1:c4,10.78.1.77,[fd42:78:1::77],h5qi")
	f.Fuzz(func(t *testing.T, line string) {
		h, ok := parseHost(line)
		if !ok {
			return
		}
		text, err := h.encode()
		if err != nil {
			return
		}
		if again, ok := parseHost(strings.TrimSpace(text)); !ok || !reflect.DeepEqual(h.Name, again.Name) || h.IPv4 != again.IPv4 {
			t.Fatalf("%q became %q", line, text)
		}
	})
}
