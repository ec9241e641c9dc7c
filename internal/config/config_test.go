package config

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
)

var table = NewTable(InstanceWords,
	Key{Name: "boot.autostart", Type: Bool},
	Key{Name: "boot.autostart.delay", Type: Integer, Default: "7"},
	Key{Name: "limits.memory", Validate: IsMemory, Live: true},
	Key{Name: "limits.kernel.*"},
	Key{Name: "size", Type: Size, Default: "10GiB"},
	Key{Name: "user.*", Live: true},
	Key{Name: "volatile.*"},
	Key{Name: "volatile.*.hwaddr", Validate: IsMAC},
)

func TestValidateWordsAsLXD(t *testing.T) {
	for _, c := range []struct{ key, value, want string }{
		{"foo", "bar", "Unknown configuration key: foo"},
		{"", "x", "Unknown configuration key: "},
		{"limits.kernel.", "3", "Unknown configuration key: limits.kernel."},
		{"boot.autostart", "maybe", `Invalid value for a boolean "maybe"`},
		{"boot.autostart", "oN", ""},
		{"boot.autostart", "", ""},
		{"boot.autostart.delay", "x", `Invalid value for an integer "x"`},
		{"limits.memory", "12x", "Invalid value: 12x"},
		{"limits.memory", "0", "Memory limit can't be 0"},
		{"limits.memory", "50%", ""},
		{"limits.memory", "x%", `strconv.ParseInt: parsing "x": invalid syntax`},
		{"limits.memory", "9EiB", "Overflow multiplying 9 with 1152921504606846976"},
		{"limits.kernel.nofile", "xx", ""},
		{"volatile.eth0.1.hwaddr", "x", "Invalid MAC address, must be 6 bytes of hex separated by colons"},
		{"volatile.eth0.name", "x", ""},
	} {
		err := table.Validate(map[string]string{c.key: c.value})
		got := ""
		if err != nil {
			got = err.Error()
			if api.StatusOf(err) != http.StatusBadRequest {
				t.Errorf("%s=%s: status %d", c.key, c.value, api.StatusOf(err))
			}
		}
		// What LXD says comes first, then which key it was.
		if known, _, _ := strings.Cut(got, " ("+c.key+"="); known != c.want {
			t.Errorf("%s=%s: got %q, want %q", c.key, c.value, got, c.want)
		}
	}
	err := table.ValidateKey("boot.autostart", "maybe")
	if want := `Invalid value for a boolean "maybe" (boot.autostart="maybe"; allowed: true or false)`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestWordsOfOtherEntities(t *testing.T) {
	server := NewTable(ServerWords, Key{Name: "core.x", Type: Bool}, Key{Name: "images.y", Values: []string{"a", "b"}}, Key{Name: "core.p", Hidden: true, Validate: OneOf("a")})
	network := NewTable(NetworkWords("br0"), Key{Name: "bridge.mtu", Validate: IsMTU}, Key{Name: "ipv4.routes", Validate: ListOf(IsIPv4Network)})
	device := NewTable(DeviceWords, Key{Name: "parent", Required: true})
	for _, c := range []struct {
		table  *Table
		config map[string]string
		want   string
	}{
		{server, map[string]string{"foo": "bar"}, "cannot set 'foo' to 'bar': unknown key"},
		{server, map[string]string{"core.x": "maybe"}, "cannot set 'core.x' to 'maybe': invalid boolean"},
		{server, map[string]string{"core.p": "secret"}, `cannot set 'core.p' to '***': Invalid value "secret" (not one of [a])`},
		{server, map[string]string{"images.y": "c"}, `cannot set 'images.y' to 'c': Invalid value "c" (not one of [a b])`},
		{network, map[string]string{"foo": "bar"}, `Invalid option for network "br0" option "foo"`},
		{network, map[string]string{"bridge.mtu": "1"}, `Invalid value for network "br0" option "bridge.mtu": Out of MTU range (1280-16384) "1"`},
		{network, map[string]string{"ipv4.routes": "10.0.0.1/8"}, `Invalid value for network "br0" option "ipv4.routes": Item "10.0.0.1/8": Not an IPv4 network address "10.0.0.1/8"`},
		{device, map[string]string{}, `Invalid value for device option "parent": Required value`},
	} {
		if err := c.table.Validate(c.config); err == nil || err.Error() != c.want {
			t.Errorf("%v: got %v, want %s", c.config, err, c.want)
		}
	}
}

func TestDefaultsAndChanges(t *testing.T) {
	config := map[string]string{"size": "", "boot.autostart": "YES"}
	if got := table.GetSize(config, "size"); got != 10<<30 {
		t.Errorf("size = %d", got)
	}
	if !table.GetBool(config, "boot.autostart") || table.GetInt(config, "boot.autostart.delay") != 7 {
		t.Error("bool or integer default")
	}
	changed := Changed(map[string]string{"a": "1", "b": "2", "e": ""}, map[string]string{"b": "3", "c": "4", "d": ""})
	if !slices.Equal(changed, []string{"a", "b", "c"}) {
		t.Errorf("changed = %v", changed)
	}
	if got := table.NotLive([]string{"limits.memory", "user.x", "size"}); !slices.Equal(got, []string{"size"}) {
		t.Errorf("not live = %v", got)
	}
}

func TestDeclaredTwicePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	table.With(Key{Name: "size"})
}

func TestSizes(t *testing.T) {
	for value, want := range map[string]int64{
		"": 0, "1": 1, "1kB": 1000, "1KiB": 1024, "1B": 1, "5 bytes": 5, "10MB": 1e7, "1EiB": 1 << 60, "7EiB": 7 << 60,
		"1KB": -1, "1K": -1, "1k": -1, "1.5GiB": -1, "1 GiB": -1, "-1": -1, "+5": -1, "1Mbit": -1, "8EiB": -1, "99999999999999999999": -1,
	} {
		got, err := ParseSize(value)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q = %d, want %d (%v)", value, got, want, err)
		}
	}
	if n, err := ParseBitSize("100Mbit"); n != 1e8 || err != nil {
		t.Error(n, err)
	}
	for n, want := range map[int64]string{0: "0B", 999: "999B", 1000: "1.00kB", 1500: "1.50kB", 12_340_000: "12.34MB", 5e18: "5.00EB"} {
		if got := FormatDecimal(n); got != want {
			t.Errorf("%d = %s, want %s", n, got, want)
		}
	}
}

func TestListenAddress(t *testing.T) {
	for value, ok := range map[string]bool{
		":8443": true, "[::]:8443": true, "10.0.0.1": true, "10.0.0.1:8443": true, "::1": true, "[::1]": true,
		"host.example": true, "host:1": true, "a:b:c": false, "host:0": false, "host:99999": false, "a b": false,
	} {
		if err := IsListenAddress(value); (err == nil) != ok {
			t.Errorf("%q: %v", value, err)
		}
	}
}

func TestAMACThatNoInterfaceCanHaveSaysWhy(t *testing.T) {
	for value, want := range map[string]string{
		"00:16:3e:00:00:01": "",
		"01:16:3e:00:00:01": `Invalid MAC address "01:16:3e:00:00:01": a multicast address (its first byte is odd)`,
		"ff:ff:ff:ff:ff:ff": `Invalid MAC address "ff:ff:ff:ff:ff:ff": a multicast address (its first byte is odd)`,
		"00:00:00:00:00:00": `Invalid MAC address "00:00:00:00:00:00": all zeros is no interface's address`,
	} {
		got := ""
		if err := IsMAC(value); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", value, got, want)
		}
	}
}

func FuzzValidators(f *testing.F) {
	for _, seed := range []string{"", "1GiB", "50%", "10.0.0.1/24", "10.0.0.1-10.0.0.9", "00:16:3e:00:00:01", "[::]:8443", "true", "-1", "9EiB", "a,b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, validate := range []func(string) error{
			IsBool, IsInt, IsUint32, IsBitSize, IsMemory, IsDuration, IsMAC, IsMTU, IsInterfaceName,
			IsIPv4Interface, IsIPv6Interface, IsIPv4Range, IsIPv6Range, IsListenAddress, ListOf(IsAddress), IsPriority,
		} {
			_ = validate(value)
		}
		if n, err := ParseSize(value); err == nil && n < 0 {
			t.Errorf("%q = %d", value, n)
		}
		if IsMAC(value) == nil || IsInterfaceName(value) == nil || IsListenAddress(value) == nil {
			if OneLine(value) != nil {
				t.Errorf("%q passes with a line break", value)
			}
		}
	})
}

func TestUnsupportedKeysAreRefusedWhereTheyAreNew(t *testing.T) {
	table := NewTable(InstanceWords, Key{Name: "a", Unsupported: "there is no a"}, Key{Name: "b.*", Unsupported: "there is no b", Except: IsFalse}, Key{Name: "c"})
	for _, c := range []struct {
		before, after map[string]string
		want          string
	}{
		{nil, map[string]string{"a": "1", "c": "1"}, `a="1" is not supported by this server: there is no a`},
		{map[string]string{"a": "1"}, map[string]string{"a": "1", "c": "2"}, ""},
		{map[string]string{"a": "1"}, map[string]string{"a": "2"}, `a="2" is not supported by this server: there is no a`},
		{map[string]string{"a": "1"}, map[string]string{"a": ""}, ""},
		{map[string]string{"a": "1"}, nil, ""},
		{nil, map[string]string{"b.x": "no"}, ""},
		{nil, map[string]string{"b.x": "yes"}, `b.x="yes" is not supported by this server: there is no b`},
		{nil, map[string]string{"unknown": "1"}, ""},
	} {
		err := table.CheckSupported(c.before, c.after)
		if got := errText(err); got != c.want || err != nil && api.StatusOf(err) != http.StatusBadRequest {
			t.Errorf("%v after %v: got %q, want %q", c.after, c.before, got, c.want)
		}
	}
	long := table.CheckSupported(nil, map[string]string{"a": strings.Repeat("x", 1000)})
	if len(errText(long)) > 200 {
		t.Errorf("%d bytes of an error", len(errText(long)))
	}
	for name, want := range map[string]bool{"a": false, "b.x": true, "c": true} {
		if k, _ := table.Lookup(name); k.Settable() != want {
			t.Errorf("%s: settable %v", name, k.Settable())
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
