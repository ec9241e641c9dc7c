// Package cloudinit knows which values cloud-init can read.
package cloudinit

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/berthd/berth/api"
)

// keys are the keys that cloud-init reads: true where the value is YAML whatever it begins with, false where that decides.
var keys = map[string]bool{
	"cloud-init.network-config": true, "user.network-config": true, "user.meta-data": true,
	"cloud-init.user-data": false, "cloud-init.vendor-data": false, "user.user-data": false, "user.vendor-data": false,
}

// Check refuses what is new in now, compared with was, and which cloud-init could not read. What was there before is left alone: it
// has been read, or not, and its instance starts.
func Check(was, now map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(now)) {
		always, ok := keys[key]
		if !ok || now[key] == "" || now[key] == was[key] {
			continue
		}
		mapping := true
		if !always {
			if mapping, ok = cloudConfig(now[key]); !ok {
				continue
			}
		}
		if err := checkYAML(now[key], mapping); err != nil {
			return api.BadRequest("%s is not valid YAML: %w", key, err)
		}
	}
	return nil
}

// cloudConfig tells whether user-data is YAML, and whether a mapping or, as an archive is, a list. It may be a script, a template, a MIME
// message and more: cloud-init goes by how it begins, without regard to case and space before it (cloudinit/user_data.py).
func cloudConfig(data string) (mapping, ok bool) {
	first, _, _ := strings.Cut(strings.TrimSpace(data), "\n")
	first = strings.ToLower(first)
	switch {
	case strings.HasPrefix(first, "#cloud-config-jsonp"):
		return false, false
	case strings.HasPrefix(first, "#cloud-config-archive"):
		return false, true
	}
	return true, strings.HasPrefix(first, "#cloud-config")
}

// checkYAML tells where a text is not YAML, or not a mapping if it has to be one.
func checkYAML(text string, mapping bool) error {
	var doc yaml.Node
	err := yaml.Unmarshal([]byte(text), &doc)
	if err != nil {
		return located(text, err)
	}
	if !mapping || len(doc.Content) == 0 {
		return nil
	}
	if root := doc.Content[0]; root.Kind != yaml.MappingNode && root.Tag != "!!null" {
		return yamlAt(root.Line, root.Column, "keys with values are wanted, such as \"version: 1\"")
	}
	return nil
}

func yamlAt(line, column int, what string) error {
	return errors.New("line " + strconv.Itoa(line) + ", column " + strconv.Itoa(column) + ": " + what)
}

// yamlError is how the library words an error of syntax; it leaves out the line at times, and the column always.
var yamlError = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?((?s).*)$`)

// looks bounds what is parsed again to find where a text goes wrong, in bytes.
const looks = 1 << 20

// located gives an error of syntax its line and column: the first place up to which the text has the same error.
func located(text string, err error) error {
	said := yamlError.FindStringSubmatch(err.Error())
	if said == nil {
		return err
	}
	line, _ := strconv.Atoi(said[1])
	left := looks
	same := func(length int) bool {
		if left -= length; left < 0 {
			return false
		}
		var doc yaml.Node
		now := yaml.Unmarshal([]byte(text[:length]), &doc)
		return now != nil && now.Error() == err.Error()
	}
	begin, n := 0, 0
	for l := range strings.Lines(text) {
		// The line that it names is at times the one before.
		if n++; line > 0 && n >= line || line == 0 && same(begin+len(l)) {
			if column := columnOf(l, begin, same); column > 0 {
				return yamlAt(n, column, said[2])
			}
		}
		if begin += len(l); line > 0 && n > line {
			break
		}
	}
	return yamlAt(max(line, 1), 1, said[2])
}

// columnOf is the column, in characters, of the first character of a line up to which the text has the error; 0 if there is none.
func columnOf(line string, begin int, same func(length int) bool) int {
	column := 0
	for i := range line {
		column++
		if _, width := utf8.DecodeRuneInString(line[i:]); same(begin + i + width) {
			return column
		}
	}
	return 0
}
