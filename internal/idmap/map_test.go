package idmap

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/internal/spec"
)

var host = Host{UID: Range{100000, 10000001}, GID: Range{100000, 10000001}}

func both(ns, h, n int64) spec.IDMapEntry {
	return spec.IDMapEntry{UID: true, GID: true, NSID: ns, HostID: h, Count: n}
}

func TestParseSub(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want Range
	}{
		"empty":           {"", Default},
		"others below":    {"user:100000:65536\n", Default},
		"others above":    {"user:2000000:65537\n", Range{2097152, 1000000000}},
		"largest of root": {"root:1:2\nroot:100000:10000001\n_lxd:5:5\n", Range{100000, 10000001}},
		"nonsense":        {"root:x:y\nroot:-1:5\nroot:5:0\n::\n#root:1:1\nroot:4294967295:1\nroot:1:99999999999\n", Default},
	} {
		got, err := parseSub(strings.NewReader(c.in), "root")
		if err != nil || got != c.want {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, c.want)
		}
	}
	if r, err := parseSub(strings.NewReader("u:1000000:4293960000\n"), "root"); err == nil {
		t.Errorf("a full host gave %v", r)
	}
}

func TestAllocate(t *testing.T) {
	raw := func(s string) []spec.IDMapEntry {
		m, err := ParseRaw(s)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for name, c := range map[string]struct {
		q     Request
		taken []Range
		want  []spec.IDMapEntry
		base  int64
		err   string
	}{
		"shared":       {want: []spec.IDMapEntry{both(0, 100000, 10000001)}},
		"isolated":     {q: Request{Isolated: true}, want: []spec.IDMapEntry{both(0, 165536, 65536)}, base: 165536},
		"second":       {q: Request{Isolated: true}, taken: []Range{{165536, 65536}}, want: []spec.IDMapEntry{both(0, 231072, 65536)}, base: 231072},
		"gap":          {q: Request{Isolated: true}, taken: []Range{{400000, 10}, {165536, 65536}}, want: []spec.IDMapEntry{both(0, 231072, 65536)}, base: 231072},
		"gap small":    {q: Request{Isolated: true}, taken: []Range{{170000, 65536}}, want: []spec.IDMapEntry{both(0, 235536, 65536)}, base: 235536},
		"base":         {q: Request{Isolated: true, Base: 112345, Size: 110000}, want: []spec.IDMapEntry{both(0, 112345, 110000)}, base: 112345},
		"too large":    {q: Request{Isolated: true, Size: 10000002}, err: "Not enough uid/gid"},
		"hole":         {q: Request{Raw: raw("both 1000 1000")}, want: []spec.IDMapEntry{both(0, 100000, 1000), both(1000, 1000, 1), both(1001, 101001, 9999000)}},
		"uid alone":    {q: Request{Isolated: true, Base: 100000, Size: 10, Raw: raw("uid 7 3")}, base: 100000, want: []spec.IDMapEntry{{UID: true, HostID: 100000, Count: 3}, {GID: true, HostID: 100000, Count: 10}, {UID: true, NSID: 3, HostID: 7, Count: 1}, {UID: true, NSID: 4, HostID: 100004, Count: 6}}},
		"double":       {q: Request{Raw: raw("uid 100001 1000")}, err: "Conflicting"},
		"beyond range": {q: Request{Isolated: true, Base: 1 << 32}, err: "outside"},
	} {
		got, base, err := Allocate(host, c.q, c.taken)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want %q", name, err, c.err)
			}
			continue
		}
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" || base != c.base {
			t.Errorf("%s: base %d err %v %s", name, base, err, diff)
		}
		again, err := Decode(Encode(got))
		if diff := cmp.Diff(got, again); err != nil || diff != "" {
			t.Errorf("%s: decoded: %v %s", name, err, diff)
		}
	}
}

func TestEncodeIsLXDs(t *testing.T) {
	want := `[{"Isuid":true,"Isgid":false,"Hostid":100000,"Nsid":0,"Maprange":10000001},{"Isuid":false,"Isgid":true,"Hostid":100000,"Nsid":0,"Maprange":10000001}]`
	if got := Encode([]spec.IDMapEntry{both(0, 100000, 10000001)}); got != want {
		t.Errorf("got %s", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"both 1000 1000", "uid 50-60 500-510\ngid 1-2 3-4", "root:100000:65536", "gid 5-4 1-2", "both 4294967294 0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := parseSub(strings.NewReader(s), "root"); err == nil && (r.Base < 0 || r.Count <= 0 || r.end() > maxID) {
			t.Errorf("range %v", r)
		}
		raw, err := ParseRaw(s)
		if err != nil {
			return
		}
		m, _, err := Allocate(host, Request{Raw: raw}, nil)
		if err != nil {
			return
		}
		for i, a := range split(m) {
			for j, b := range split(m) {
				if i != j && a.UID == b.UID && (a.NSID < b.NSID+b.Count && b.NSID < a.NSID+a.Count || a.HostID < b.HostID+b.Count && b.HostID < a.HostID+a.Count) {
					t.Fatalf("%v and %v overlap", a, b)
				}
			}
		}
	})
}
