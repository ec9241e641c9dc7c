// Package suite runs Go tests in the lab's guest: compiled on the host, run in the guest from the share, reported like `go test -v`.
package suite

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Entry is one line of a list: packages and flags of their tests.
type Entry struct {
	Pattern string   // as `go test` takes it
	Flags   []string // -run, -skip, -short, -timeout, … as `go test` takes them
}

// ReadList reads a list of tests: a pattern and flags per line, "#" begins a comment.
func ReadList(path string) ([]Entry, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var list []Entry
	for n, line := range strings.Split(string(data), "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if strings.HasPrefix(words[0], "-") {
			return nil, fmt.Errorf("%s:%d: %q is a flag; a line begins with a package", path, n+1, words[0])
		}
		list = append(list, Entry{words[0], words[1:]})
	}
	return list, nil
}

// Program is the compiled test of one package.
type Program struct {
	Package string // import path
	Dir     string // where its tests run
	Path    string // the program
	Flags   []string
}

// Compile compiles the tests of a list to programs in a folder. The working folder is the source tree's.
func Compile(ctx context.Context, list []Entry, into string) ([]Program, error) {
	if err := os.MkdirAll(into, 0o755); err != nil {
		return nil, err
	}
	var programs []Program
	for _, e := range list {
		found, err := packages(ctx, e.Pattern)
		if err != nil {
			return nil, err
		}
		for _, p := range found {
			p.Path = filepath.Join(into, strings.NewReplacer("/", "-", ".", "-").Replace(p.Package)+".test")
			p.Flags = binaryFlags(e.Flags)
			cmd := exec.CommandContext(ctx, "go", "test", "-c", "-o", p.Path, p.Package)
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // the guest's libraries need not be the host's
			if out, err := cmd.CombinedOutput(); err != nil {
				return nil, fmt.Errorf("go test -c %s: %w\n%s", p.Package, err, out)
			}
			programs = append(programs, p)
		}
	}
	return programs, nil
}

// packages lists those with tests.
func packages(ctx context.Context, pattern string) ([]Program, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}\t{{.Dir}}{{end}}", pattern)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w: %s", pattern, err, stderr.String())
	}
	var list []Program
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		if path, dir, ok := strings.Cut(lines.Text(), "\t"); ok {
			list = append(list, Program{Package: path, Dir: dir})
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no tests in %s", pattern)
	}
	return list, lines.Err()
}

// binaryFlags are flags of `go test` as the compiled program takes them.
func binaryFlags(flags []string) []string {
	var out []string
	for _, f := range flags {
		if name := strings.TrimLeft(f, "-"); name != f && !strings.HasPrefix(name, "test.") {
			f = "-test." + name
		}
		out = append(out, f)
	}
	return out
}
