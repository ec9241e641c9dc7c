package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/berthd/berth/api"
)

// Bounds of metadata.yaml. Real ones have a few kilobytes.
const (
	MaxMetadata  = 1 << 20
	maxNodes     = 20_000
	maxNodeDepth = 12
	maxText      = 64 << 10
	maxWhen      = 16
)

// architectures maps the names that images use to the one that the API shows.
var architectures = map[string]string{
	"i686": "i686", "i386": "i686", "i586": "i686", "386": "i686", "x86": "i686",
	"x86_64": "x86_64", "amd64": "x86_64", "generic_64": "x86_64",
	"armv6l": "armv6l", "armv7l": "armv7l", "armhf": "armv7l", "armel": "armv7l", "arm": "armv7l", "armhfp": "armv7l", "armv7a_hardfp": "armv7l", "armv7": "armv7l", "armv7a_vfpv3_hardfp": "armv7l",
	"aarch64": "aarch64", "arm64": "aarch64", "arm64_generic": "aarch64",
	"ppc": "ppc", "powerpc": "ppc", "ppc64": "ppc64", "powerpc64": "ppc64", "ppc64le": "ppc64le", "ppc64el": "ppc64le",
	"s390x": "s390x", "mips": "mips", "mipsel": "mips", "mips64": "mips64", "mips64el": "mips64",
	"riscv32": "riscv32", "riscv64": "riscv64", "loongarch64": "loongarch64",
}

// Architecture gives the API's name of an architecture, or "" for one that is not known.
func Architecture(name string) string { return architectures[name] }

// DecodeMetadata reads metadata.yaml of an image, a backup or another server. What it returns has no nil maps or templates,
// a known architecture and a creation date; what it does not know it leaves out, as LXD does.
func DecodeMetadata(data []byte) (*api.ImageMetadata, error) {
	m, err := decodeMetadata(data)
	if err != nil {
		return nil, err
	}
	known := Architecture(m.Architecture)
	if known == "" {
		return nil, api.BadRequest("Architecture isn't supported: %s", m.Architecture)
	}
	m.Architecture = known
	if m.CreationDate == 0 {
		return nil, api.BadRequest("Missing creation date")
	}
	return m, nil
}

func decodeMetadata(data []byte) (*api.ImageMetadata, error) {
	if len(data) > MaxMetadata {
		return nil, api.BadRequest("metadata.yaml is larger than %d bytes", MaxMetadata)
	}
	root, err := yamlRoot(data)
	if err != nil {
		return nil, err
	}
	// Decoding into plain values copies nothing that was not counted.
	var m api.ImageMetadata
	if err := root.Decode(&m); err != nil {
		return nil, api.BadRequest("%w", err)
	}
	if m.CreationDate < 0 || m.ExpiryDate < 0 || m.CreationDate > maxUnix || m.ExpiryDate > maxUnix {
		return nil, api.BadRequest("metadata.yaml: a date is out of range")
	}
	if m.Properties == nil {
		m.Properties = map[string]string{}
	}
	templates := make(map[string]*api.ImageMetadataTemplate, len(m.Templates))
	for path, t := range m.Templates {
		if t == nil {
			t = &api.ImageMetadataTemplate{}
		}
		if err := checkTemplate(path, t); err != nil {
			return nil, err
		}
		if t.Properties == nil {
			t.Properties = map[string]string{}
		}
		if t.When == nil {
			t.When = []string{}
		}
		templates[path] = t
	}
	m.Templates = templates
	return &m, nil
}

// maxUnix is the last second of the year 9999: what JSON can say.
const maxUnix = 253402300799

func checkTemplate(path string, t *api.ImageMetadataTemplate) error {
	if path == "" || path[0] != '/' || strings.ContainsAny(path, "\x00\n") {
		return api.BadRequest("metadata.yaml: template path %q is not absolute", path)
	}
	for _, element := range strings.Split(path, "/") {
		if element == ".." {
			return api.BadRequest("metadata.yaml: template path %q leads outside", path)
		}
	}
	if t.Template != "" && (strings.ContainsAny(t.Template, "/\x00\n") || t.Template == "." || t.Template == "..") {
		return api.BadRequest("metadata.yaml: template %q is not a file name", t.Template)
	}
	if len(t.When) > maxWhen {
		return api.BadRequest("metadata.yaml: template %q has too many conditions", path)
	}
	return nil
}

// yamlRoot parses one YAML document and bounds it before anything is made of it.
func yamlRoot(data []byte) (root *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil { // the parser is not ours
			root, err = nil, api.BadRequest("metadata.yaml: %v", r)
		}
	}()
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, api.BadRequest("metadata.yaml is empty")
		}
		return nil, api.BadRequest("%w", err)
	}
	if err := (&yamlBounds{nodes: maxNodes, text: MaxMetadata}).take(&doc, 0); err != nil {
		return nil, err
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, api.BadRequest("metadata.yaml is empty")
	}
	if doc.Content[0].Kind != yaml.MappingNode {
		return nil, api.BadRequest("metadata.yaml is not a mapping")
	}
	return doc.Content[0], nil
}

// yamlBounds is what a document may still have. An alias counts as what it stands for, each time: PyYAML writes one for every value that comes twice, and a few lines of
// aliases to aliases would make gigabytes.
type yamlBounds struct{ nodes, text int }

func (b *yamlBounds) take(n *yaml.Node, depth int) error {
	if b.nodes--; b.nodes < 0 {
		return api.BadRequest("metadata.yaml has more than %d values", maxNodes)
	}
	if depth > maxNodeDepth { // an anchor within itself ends here, too
		return api.BadRequest("metadata.yaml is nested too deeply")
	}
	if n.Kind == yaml.AliasNode { // Value is the anchor's name
		return b.take(n.Alias, depth+1)
	}
	if len(n.Value) > maxText {
		return api.BadRequest("metadata.yaml: line %d: value is too long", n.Line)
	}
	if b.text -= len(n.Value); b.text < 0 {
		return api.BadRequest("metadata.yaml: line %d: more than %d bytes of values", n.Line, MaxMetadata)
	}
	for _, child := range n.Content {
		if err := b.take(child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// EncodeMetadata writes metadata.yaml.
func EncodeMetadata(m *api.ImageMetadata) ([]byte, error) {
	data, err := yaml.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode metadata.yaml: %w", err)
	}
	return data, nil
}
