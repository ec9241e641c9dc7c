package image

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/api"
)

const goodMetadata = `architecture: amd64
creation_date: 1700000000
expiry_date: 1900000000
unknown: [1, 2]
properties:
  os: debian
  release: 12
  stable: true
  empty:
templates:
  /etc/hostname:
    when: [create, copy]
    create_only: false
    template: hostname.tpl
  /etc/nothing:
`

func TestDecodeMetadata(t *testing.T) {
	m, err := DecodeMetadata([]byte(goodMetadata))
	if err != nil {
		t.Fatal(err)
	}
	want := &api.ImageMetadata{
		Architecture: "x86_64", CreationDate: 1700000000, ExpiryDate: 1900000000,
		Properties: map[string]string{"os": "debian", "release": "12", "stable": "true", "empty": ""},
		Templates: map[string]*api.ImageMetadataTemplate{
			"/etc/hostname": {When: []string{"create", "copy"}, Template: "hostname.tpl", Properties: map[string]string{}},
			"/etc/nothing":  {When: []string{}, Properties: map[string]string{}},
		},
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Fatal(diff)
	}
}

func TestDecodeMetadataRefuses(t *testing.T) {
	base := "architecture: x86_64\ncreation_date: 1\n"
	for name, c := range map[string]struct{ data, want string }{
		"empty":                {"", "empty"},
		"list":                 {"- a", "mapping"},
		"no architecture":      {"creation_date: 1", "Architecture isn't supported: "},
		"unknown architecture": {"architecture: z80\ncreation_date: 1", "Architecture isn't supported: z80"},
		"no date":              {"architecture: x86_64", "Missing creation date"},
		"date is text":         {"architecture: x86_64\ncreation_date: abc", "cannot unmarshal !!str `abc` into int64"},
		"date is far":          {"architecture: x86_64\ncreation_date: 9999999999999", "out of range"},
		"negative date":        {"architecture: x86_64\ncreation_date: -1", "out of range"},
		"properties is text":   {base + "properties: x", "cannot unmarshal !!str `x` into map[string]string"},
		"alias":                {base + "properties: &a {x: y}\ntemplates: *a", "aliases"},
		"deep":                 {base + "x: " + strings.Repeat("[", 40) + strings.Repeat("]", 40), "nested"},
		"many":                 {base + "x: [" + strings.Repeat("1,", maxNodes) + "1]", "too many"},
		"large":                {base + "x: " + strings.Repeat("y", MaxMetadata), "larger"},
		"template outside":     {base + "templates: {/a/../../etc/passwd: {template: a}}", "outside"},
		"template relative":    {base + "templates: {etc/passwd: {template: a}}", "absolute"},
		"template file path":   {base + "templates: {/etc/passwd: {template: ../../x}}", "file name"},
		"binary":               {"\x00\x01\x02", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := DecodeMetadata([]byte(c.data))
			if err == nil {
				t.Fatalf("was accepted: %+v", m)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error is %q, want %q in it", err, c.want)
			}
			if api.StatusOf(err) != 400 {
				t.Fatalf("status %d", api.StatusOf(err))
			}
		})
	}
}

func FuzzDecodeMetadata(f *testing.F) {
	f.Add([]byte(goodMetadata))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("templates: {/x: }"))
	f.Add([]byte("architecture: x86_64\ncreation_date: 1e3"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := DecodeMetadata(data)
		if err != nil {
			return
		}
		if m.Properties == nil || m.Templates == nil || m.Architecture == "" || m.CreationDate <= 0 {
			t.Fatalf("holes in %+v", m)
		}
		for path, tpl := range m.Templates {
			if tpl == nil || tpl.Properties == nil || tpl.When == nil || !strings.HasPrefix(path, "/") {
				t.Fatalf("bad template %q: %+v", path, tpl)
			}
		}
		again, err := EncodeMetadata(m)
		if err != nil {
			t.Fatal(err)
		}
		m2, err := DecodeMetadata(again)
		if err != nil {
			t.Fatalf("own output is refused: %v\n%s", err, again)
		}
		if diff := cmp.Diff(m, m2); diff != "" {
			t.Fatal(diff)
		}
	})
}
