package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestLogLinesSayInWhichProjectAnInstanceIs: instances of several projects have the same name, and a line about one of them must not be taken for
// one about another.
func TestLogLinesSayInWhichProjectAnInstanceIs(t *testing.T) {
	fset, found := token.NewFileSet(), 0
	walk(t, func(path string) {
		if !strings.HasPrefix(path, "internal/") {
			return
		}
		file, err := parser.ParseFile(fset, filepath.Join(top, path), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !isLog(call) {
				return true
			}
			named, placed := false, false
			for n, arg := range call.Args {
				if text, ok := flagText(arg); ok {
					placed = placed || text == "project"
					named = named || text == "instance" && n+1 < len(call.Args) && isName(call.Args[n+1])
				}
			}
			if named {
				found++
			}
			if named && !placed {
				t.Errorf("%s:%d: an instance is named without its project", path, fset.Position(call.Pos()).Line)
			}
			return true
		})
	})
	if found == 0 {
		t.Error("no lines were found: has the way they are written changed?")
	}
}

// isLog tells whether a call writes a line of the log: s.Log.Warn, d.log.Error, slog.Info.
func isLog(call *ast.CallExpr) bool {
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !strings.Contains(" Debug Info Warn Error ", " "+f.Sel.Name+" ") {
		return false
	}
	switch x := f.X.(type) {
	case *ast.Ident:
		return x.Name == "slog" || x.Name == "log"
	case *ast.SelectorExpr:
		return x.Sel.Name == "Log" || x.Sel.Name == "log"
	}
	return false
}

// isName tells whether an expression is a name alone, unlike an ID, which has the project in it.
func isName(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "name"
	case *ast.SelectorExpr:
		return e.Sel.Name == "Name" || e.Sel.Name == "name"
	}
	return false
}
