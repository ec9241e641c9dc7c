// Package lint holds one rule for each class of mistake in SECURITY that a reader of source can see, with its reason.
package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const top = "../.."

// rule forbids calls of functions, by package name and function name.
type rule struct {
	name  string
	why   string
	calls []string // "os.Create"; "exec.Command" with arg is checked against args
	args  []string // literal arguments that make the call wrong; empty: always
	// unless are calls that make it right as the first argument: "io.LimitReader".
	unless []string
	// in limits the rule to folders; except takes files and folders out of it, each for a reason in the comment.
	in, except []string
}

var rules = []rule{
	{
		name:  "no-shell",
		why:   "a shell turns data into commands (CVE-2026-28384, CVE-2026-62867): call the program with its arguments",
		calls: []string{"exec.Command", "exec.CommandContext"},
		args:  []string{"sh", "bash", "/bin/sh", "/bin/bash", "env"},
		in:    []string{"internal", "cmd", "client"},
	},
	{
		name: "guest-paths",
		why: "a link in an image, a backup or a guest leads a root daemon outside (CVE-2026-23954, CVE-2026-33897): open beneath a " +
			"handle with os.Root or securefs",
		calls: []string{"os.Create", "os.WriteFile", "os.Open", "os.OpenFile", "os.ReadFile", "os.Chown", "os.Lchown", "os.Chmod", "os.MkdirAll", "os.Symlink"},
		in:    []string{"internal/archive", "internal/treecopy", "internal/securefs", "internal/instance/files", "internal/instance/template"},
	},
	{
		name:  "no-wait-by-sleep",
		why:   "a sleep is too long for the fast case and too short for the slow one: wait for an event, under a context",
		calls: []string{"time.Sleep"},
		in:    []string{"internal", "cmd", "client", "api"},
	},
	{
		name:  "bounded-readers",
		why:   "input without a bound fills the memory (CVE-2026-41648): io.LimitReader or http.MaxBytesReader first, in the one function that does so",
		calls: []string{"io.ReadAll", "ioutil.ReadAll"}, unless: []string{"io.LimitReader", "http.MaxBytesReader"},
		in: []string{"internal/server", "internal/image", "internal/instance", "internal/certificate"},
	},
	{
		name:  "no-process-names",
		why:   "a guest chooses the names of its processes (CVE-2025-54288): identity comes from pidfds, credentials and cgroups",
		calls: []string{"exec.Command", "exec.CommandContext"},
		args:  []string{"pkill", "killall", "pgrep", "ps"},
		in:    []string{"internal", "cmd"},
	},
	{
		name:  "one-fetch-client",
		why:   "a URL from outside leads the daemon to what only it reaches (CVE-2026-35527): fetch.Client asks the caller's policy",
		calls: []string{"http.Get", "http.Head", "http.Post", "http.PostForm"},
		in:    []string{"internal", "cmd"},
	},
	{
		name:  "confined-tools",
		why:   "a program that reads what strangers made runs in a sandbox (CVE-2026-41685): sandbox.Tool",
		calls: []string{"exec.Command", "exec.CommandContext"},
		in:    []string{"internal/archive", "internal/template"},
	},
	{
		name:  "no-predictable-secrets",
		why:   "secrets of websockets and operations come from crypto/rand",
		calls: []string{"rand.Seed"},
		in:    []string{"internal", "cmd", "client"},
	},
}

// fields are struct fields that must not be set to true.
var fields = []struct{ name, why string }{
	{"InsecureSkipVerify", "a connection without verification is anybody's (CVE-2026-33542): pin the certificate in VerifyPeerCertificate or VerifyConnection"},
}

func TestRules(t *testing.T) {
	fset := token.NewFileSet()
	walk(t, func(path string) {
		file, err := parser.ParseFile(fset, filepath.Join(top, path), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		excused := excuses(fset, file)
		report := func(pos token.Pos, name, why string) {
			if line := fset.Position(pos).Line; !excused[line] && !excused[line-1] {
				t.Errorf("%s:%d: %s: %s", path, line, name, why)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				for _, r := range rules {
					if r.applies(path) && r.matches(n) {
						report(n.Pos(), r.name, r.why)
					}
				}
			case *ast.KeyValueExpr:
				for _, f := range fields {
					if id, ok := n.Key.(*ast.Ident); ok && id.Name == f.name {
						report(n.Pos(), f.name, f.why)
					}
				}
			}
			return true
		})
	})
}

// excuses finds the lines that carry "lint:allow RULE: reason"; an excuse without a reason is none.
func excuses(fset *token.FileSet, file *ast.File) map[int]bool {
	lines := map[int]bool{}
	for _, group := range file.Comments {
		for _, c := range group.List {
			_, rest, ok := strings.Cut(c.Text, "lint:allow ")
			if _, reason, has := strings.Cut(rest, ":"); ok && has && len(strings.TrimSpace(reason)) > 10 {
				lines[fset.Position(c.Pos()).Line] = true
				lines[fset.Position(group.End()).Line] = true
			}
		}
	}
	return lines
}

func (r rule) applies(path string) bool {
	for _, e := range r.except {
		if strings.HasPrefix(path, e) {
			return false
		}
	}
	for _, in := range r.in {
		if strings.HasPrefix(path, in+"/") {
			return true
		}
	}
	return false
}

func (r rule) matches(call *ast.CallExpr) bool {
	if !slices.Contains(r.calls, called(call)) {
		return false
	}
	if len(call.Args) > 0 {
		if inner, ok := call.Args[0].(*ast.CallExpr); ok && slices.Contains(r.unless, called(inner)) {
			return false
		}
	}
	return len(r.args) == 0 || literal(call.Args, r.args)
}

// called is the function of a call as "package.Name", or "".
func called(call *ast.CallExpr) string {
	if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
		if pkg, ok := sel.X.(*ast.Ident); ok {
			return pkg.Name + "." + sel.Sel.Name
		}
	}
	return ""
}

func literal(args []ast.Expr, wanted []string) bool {
	for _, a := range args {
		lit, ok := a.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			continue
		}
		value, err := strconv.Unquote(lit.Value)
		for _, w := range wanted {
			if err == nil && value == w {
				return true
			}
		}
	}
	return false
}

// walk calls f for every Go file that is not a test.
func walk(t *testing.T, f func(path string)) {
	t.Helper()
	count := 0
	err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(top, path)
		if e.IsDir() && (name == ".git" || name == "bin" || name == "test") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			count++
			f(name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if count < 50 {
		t.Fatalf("only %d files found: the rules look in the wrong place", count)
	}
}
