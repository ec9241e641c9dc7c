package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// defines matches the methods of a set of flags that define one: BoolVarP, StringArray, VarP, …
var defines = regexp.MustCompile(`^(Bool|String|Int|Uint|Duration|Count|Float)[A-Za-z0-9]*$|^VarP?$`)

// TestEveryFlagIsRead finds flags of the command lines that are parsed and dropped: whose variable nothing reads, or that have none and are
// asked for by nobody.
func TestEveryFlagIsRead(t *testing.T) {
	for _, dir := range []string{"internal/cli", "internal/initcmd", "cmd/berthd", "cmd/berth"} {
		p := parsePackage(t, filepath.Join("..", "..", dir))
		found := 0
		for _, file := range p.files {
			for _, d := range file.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
					found += p.check(t, fn)
				}
			}
		}
		if found == 0 && dir == "internal/cli" {
			t.Error("no flags were found: has the way they are defined changed?")
		}
	}
}

type flagPackage struct {
	set     *token.FileSet
	files   []*ast.File
	fields  map[string]int  // how often a field of this name is read
	asked   map[string]bool // texts that are arguments: of GetBool, Lookup, Changed
	results map[string]bool // functions that return the variable of a flag
}

func parsePackage(t *testing.T, dir string) *flagPackage {
	t.Helper()
	p := &flagPackage{set: token.NewFileSet(), fields: map[string]int{}, asked: map[string]bool{}, results: map[string]bool{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(p.set, filepath.Join(dir, e.Name()), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		p.files = append(p.files, file)
		ast.Inspect(file, p.note)
	}
	return p
}

// note counts what reads the variables of flags.
func (p *flagPackage) note(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.AssignStmt: // a field on the left is not read
		for _, right := range n.Rhs {
			ast.Inspect(right, p.note)
		}
		return false
	case *ast.CallExpr:
		if _, _, ok := definition(n); !ok {
			if s, is := n.Fun.(*ast.SelectorExpr); is && len(n.Args) > 0 && (strings.HasPrefix(s.Sel.Name, "Get") || s.Sel.Name == "Changed" || s.Sel.Name == "Lookup") {
				if text, is := flagText(n.Args[0]); is {
					p.asked[text] = true
				}
			}
			return true
		}
		return false // &field here is no reading
	case *ast.SelectorExpr:
		p.fields[n.Sel.Name]++
	case *ast.FuncDecl:
		if n.Body != nil && returnsFlag(n.Body) {
			p.results[n.Name.Name] = true
		}
	}
	return true
}

// definition tells of a call that defines a flag its variable (nil: it is what the call returns) and its name.
func definition(call *ast.CallExpr) (variable ast.Expr, name string, ok bool) {
	method, is := call.Fun.(*ast.SelectorExpr)
	if !is || !defines.MatchString(method.Sel.Name) || !isFlags(method.X) || len(call.Args) < 2 {
		return nil, "", false
	}
	if name, ok = flagText(call.Args[0]); ok {
		return nil, name, true
	}
	name, ok = flagText(call.Args[1])
	return call.Args[0], name, ok
}

// isFlags tells whether an expression is a set of flags, by how it is called.
func isFlags(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.CallExpr:
		s, ok := e.Fun.(*ast.SelectorExpr)
		return ok && strings.HasSuffix(s.Sel.Name, "Flags")
	case *ast.Ident:
		return e.Name == "flags" || e.Name == "fs" || e.Name == "flag" || e.Name == "f"
	}
	return false
}

func flagText(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(l.Value)
	return text, err == nil
}

func returnsFlag(body *ast.BlockStmt) bool {
	found := false
	ast.Inspect(body, func(n ast.Node) bool {
		if r, ok := n.(*ast.ReturnStmt); ok {
			for _, e := range r.Results {
				if call, ok := e.(*ast.CallExpr); ok {
					_, _, is := definition(call)
					found = found || is
				}
			}
		}
		return !found
	})
	return found
}

// check looks at the flags that a function defines, and returns how many there are.
func (p *flagPackage) check(t *testing.T, fn *ast.FuncDecl) int {
	found := 0
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		dropped := func(call *ast.CallExpr, name string) {
			t.Errorf("%s: --%s is parsed and dropped", p.set.Position(call.Pos()), name)
		}
		switch n := n.(type) {
		case *ast.ExprStmt:
			call, ok := n.X.(*ast.CallExpr)
			if !ok {
				return true
			}
			variable, name, is := definition(call)
			if callee := callee(call); !is && p.results[callee] {
				dropped(call, "(of "+callee+")")
			}
			if !is {
				return true
			}
			found++
			if variable == nil && !p.asked[name] || variable != nil && !p.read(fn, variable) && !p.asked[name] {
				dropped(call, name)
			}
		case *ast.AssignStmt:
			for i, right := range n.Rhs {
				call, ok := right.(*ast.CallExpr)
				if !ok || i >= len(n.Lhs) {
					continue
				}
				if _, name, is := definition(call); is {
					found++
					if id, ok := n.Lhs[i].(*ast.Ident); !ok || id.Name == "_" || uses(fn.Body, id.Name) < 2 {
						dropped(call, name)
					}
				}
			}
		}
		return true
	})
	return found
}

func callee(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// read tells whether anything reads the variable whose address a flag is given.
func (p *flagPackage) read(fn *ast.FuncDecl, variable ast.Expr) bool {
	if u, ok := variable.(*ast.UnaryExpr); ok {
		variable = u.X
	}
	switch v := variable.(type) {
	case *ast.SelectorExpr:
		return p.fields[v.Sel.Name] > 0
	case *ast.Ident:
		return uses(fn.Body, v.Name) > 2 // its declaration, the flag's, and one more
	}
	return true
}

func uses(body *ast.BlockStmt, name string) int {
	n := 0
	ast.Inspect(body, func(node ast.Node) bool {
		if id, ok := node.(*ast.Ident); ok && id.Name == name {
			n++
		}
		return true
	})
	return n
}
