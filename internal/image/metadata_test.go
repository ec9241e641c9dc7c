package image

import (
	"fmt"
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

// PyYAML writes an alias for every list that comes twice.
func TestDecodeMetadataTakesAliases(t *testing.T) {
	m, err := DecodeMetadata([]byte(`architecture: x86_64
creation_date: 1
properties: {os: &os busybox, name: *os}
templates:
  /etc/a: {template: t.tpl, when: &id001 [create, copy]}
  /etc/b: {template: t.tpl, when: *id001}
  /etc/c: {<<: {template: u.tpl}, when: *id001}
`))
	if err != nil {
		t.Fatal(err)
	}
	if m.Properties["name"] != "busybox" || m.Templates["/etc/c"].Template != "u.tpl" {
		t.Errorf("%+v", m)
	}
	for _, path := range []string{"/etc/a", "/etc/b", "/etc/c"} {
		if diff := cmp.Diff([]string{"create", "copy"}, m.Templates[path].When); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
}

// laughs is a document of so many lines, each of which has the one before nine times.
func laughs(lines int) string {
	text := "a0: &a0 [lol]\n"
	for i := range lines {
		text += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 9), ","))
	}
	return text
}

func TestDecodeMetadataRefuses(t *testing.T) {
	base := "architecture: x86_64\ncreation_date: 1\n"
	for name, c := range map[string]struct{ data, want string }{
		"empty":                 {"", "empty"},
		"list":                  {"- a", "mapping"},
		"no architecture":       {"creation_date: 1", "Architecture isn't supported: "},
		"unknown architecture":  {"architecture: z80\ncreation_date: 1", "Architecture isn't supported: z80"},
		"no date":               {"architecture: x86_64", "Missing creation date"},
		"date is text":          {"architecture: x86_64\ncreation_date: abc", "cannot unmarshal !!str `abc` into int64"},
		"date is far":           {"architecture: x86_64\ncreation_date: 9999999999999", "out of range"},
		"negative date":         {"architecture: x86_64\ncreation_date: -1", "out of range"},
		"properties is text":    {base + "properties: x", "cannot unmarshal !!str `x` into map[string]string"},
		"alias of another type": {base + "properties: &a {x: y}\ntemplates: *a", "cannot unmarshal !!str `y`"},
		"alias within itself":   {base + "x: &a [*a]", "nested too deeply"},
		"aliases of aliases":    {base + laughs(9), "more than 20000 values"},
		"aliases of a text":     {base + "x: &a " + strings.Repeat("y", 60_000) + "\nz: [" + strings.Repeat("*a,", 20) + "]", "bytes of values"},
		"unknown alias":         {base + "x: *a", "unknown anchor"},
		"deep":                  {base + "x: " + strings.Repeat("[", 40) + strings.Repeat("]", 40), "nested"},
		"many":                  {base + "x: [" + strings.Repeat("1,", maxNodes) + "1]", "more than 20000 values"},
		"large":                 {base + "x: " + strings.Repeat("y", MaxMetadata), "larger"},
		"template outside":      {base + "templates: {/a/../../etc/passwd: {template: a}}", "outside"},
		"template relative":     {base + "templates: {etc/passwd: {template: a}}", "absolute"},
		"template file path":    {base + "templates: {/etc/passwd: {template: ../../x}}", "file name"},
		"binary":                {"\x00\x01\x02", ""},
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
	f.Add([]byte("architecture: &a x86_64\ncreation_date: 1\nproperties: {x: *a}\n" + laughs(3)))
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
