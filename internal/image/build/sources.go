package build

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// releases are the names of Debian's releases by number.
var releases = map[string]string{"11": "bullseye", "12": "bookworm", "13": "trixie", "14": "forky"}

// codename gives a release's name by number or name.
func codename(release string) (name, number string, err error) {
	if release == "" {
		release = "12"
	}
	for n, c := range releases {
		if release == n || release == c {
			return c, n, nil
		}
	}
	if release == "sid" || release == "testing" || release == "stable" {
		return release, release, nil
	}
	return "", "", fmt.Errorf("Debian release %q is not known", release)
}

// source is one line of an apt configuration.
type source struct {
	uri, suite string
	components string
	signedBy   string
}

func (s source) line() string {
	options := ""
	if s.signedBy != "" {
		options = "[signed-by=" + s.signedBy + "] "
	}
	return fmt.Sprintf("deb %s%s %s %s", options, s.uri, s.suite, s.components)
}

// aptSources finds what this machine's apt would use for a release of Debian: the release itself and its updates. On a machine with another
// release, the mirror is used for ours.
func aptSources(etc, code string) ([]source, error) {
	all := readSources(etc)
	var found []source
	for _, s := range all {
		if s.suite == code || s.suite == code+"-updates" || s.suite == code+"-security" {
			found = append(found, s)
		}
	}
	for _, s := range found {
		if s.suite == code {
			return found, nil
		}
	}
	for _, s := range all {
		if strings.Contains(s.signedBy, "debian-archive-keyring") || strings.HasSuffix(strings.TrimSuffix(s.uri, "/"), "/debian") {
			s.suite, s.components = code, "main"
			return []source{s}, nil
		}
	}
	return nil, fmt.Errorf("no Debian mirror in %s: name one with --mirror", filepath.Join(etc, "sources.list"))
}

func readSources(etc string) []source {
	var all []source
	if data, err := os.ReadFile(filepath.Join(etc, "sources.list")); err == nil {
		all = append(all, parseList(string(data))...)
	}
	names, _ := filepath.Glob(filepath.Join(etc, "sources.list.d", "*"))
	sort.Strings(names)
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		switch filepath.Ext(name) {
		case ".list":
			all = append(all, parseList(string(data))...)
		case ".sources":
			all = append(all, parseDeb822(string(data))...)
		}
	}
	return all
}

// parseList reads apt's one-line format.
func parseList(text string) []source {
	var all []source
	for _, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[0] != "deb" {
			continue
		}
		var s source
		rest := fields[1:]
		if strings.HasPrefix(rest[0], "[") {
			for len(rest) > 0 {
				option := strings.Trim(rest[0], "[]")
				if by, ok := strings.CutPrefix(option, "signed-by="); ok {
					s.signedBy = by
				}
				last := strings.HasSuffix(rest[0], "]")
				if rest = rest[1:]; last {
					break
				}
			}
		}
		if len(rest) < 3 {
			continue
		}
		s.uri, s.suite, s.components = rest[0], rest[1], "main"
		all = append(all, s)
	}
	return all
}

// parseDeb822 reads apt's format of stanzas.
func parseDeb822(text string) []source {
	var all []source
	for _, stanza := range strings.Split(text, "\n\n") {
		fields := map[string]string{}
		for _, line := range strings.Split(stanza, "\n") {
			key, value, ok := strings.Cut(line, ":")
			if ok && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, " ") {
				fields[strings.ToLower(key)] = strings.TrimSpace(value)
			}
		}
		if !strings.Contains(" "+fields["types"]+" ", " deb ") || strings.EqualFold(fields["enabled"], "no") {
			continue
		}
		signedBy := fields["signed-by"]
		if !strings.HasPrefix(signedBy, "/") {
			signedBy = ""
		}
		for _, uri := range strings.Fields(fields["uris"]) {
			for _, suite := range strings.Fields(fields["suites"]) {
				all = append(all, source{uri: uri, suite: suite, components: "main", signedBy: signedBy})
			}
		}
	}
	return all
}
