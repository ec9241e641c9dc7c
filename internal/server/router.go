package server

import (
	"net/url"
	"strings"
)

// router finds routes by path. net/http's own refuses "/images/{fp}/export" next to "/images/aliases/{name...}",
// which the API has; here, element by element, a literal wins over a variable and that over a rest.
type router struct {
	root node
}

type node struct {
	literal  map[string]*node
	variable *node
	rest     *node
	name     string // of the variable or rest that leads here
	methods  map[string]Route
}

func (rt *router) add(route Route) {
	n := &rt.root
	for _, element := range elements(route.Path) {
		n = n.child(element)
	}
	if n.methods == nil {
		n.methods = map[string]Route{}
	}
	if _, ok := n.methods[route.Method]; ok {
		panic("server: " + route.Method + " " + route.Path + " is defined twice")
	}
	n.methods[route.Method] = route
}

// child returns the node below n for an element of a pattern, made if need be.
func (n *node) child(element string) *node {
	name, isVariable := strings.CutPrefix(element, "{")
	if !isVariable {
		if n.literal == nil {
			n.literal = map[string]*node{}
		}
		if n.literal[element] == nil {
			n.literal[element] = &node{}
		}
		return n.literal[element]
	}
	slot := &n.variable
	name = strings.TrimSuffix(name, "}")
	if plain, ok := strings.CutSuffix(name, "..."); ok {
		slot, name = &n.rest, plain
	}
	if *slot == nil {
		*slot = &node{name: name}
	}
	if (*slot).name != name {
		panic("server: variable {" + name + "} is {" + (*slot).name + "} on another route")
	}
	return *slot
}

// find returns the methods of a path in its escaped form, with its variables; nil if there is no such path.
func (rt *router) find(path string) (map[string]Route, map[string]string) {
	var vars map[string]string
	n := rt.root.find(elements(path), &vars)
	if n == nil {
		return nil, nil
	}
	return n.methods, vars
}

// find sets in vars, which is made for the first of them, the variables on the way to the node that it returns.
func (n *node) find(path []string, vars *map[string]string) *node {
	if len(path) == 0 {
		if n.methods == nil {
			return nil
		}
		return n
	}
	if next, ok := n.literal[path[0]]; ok {
		if found := next.find(path[1:], vars); found != nil {
			return found
		}
	}
	if n.variable != nil && path[0] != "" {
		value, err := url.PathUnescape(path[0])
		if err == nil {
			if found := n.variable.find(path[1:], vars); found != nil {
				note(vars, n.variable.name, value)
				return found
			}
		}
	}
	if n.rest != nil && path[0] != "" {
		value, err := url.PathUnescape(strings.Join(path, "/"))
		if err == nil && n.rest.methods != nil {
			note(vars, n.rest.name, value)
			return n.rest
		}
	}
	return nil
}

func note(vars *map[string]string, name, value string) {
	if *vars == nil {
		*vars = map[string]string{}
	}
	(*vars)[name] = value
}

// elements splits a path; the root has one empty element, like every path that ends in a slash.
func elements(path string) []string {
	return strings.Split(strings.TrimPrefix(path, "/"), "/")
}

// redact hides what must not come into a log: secrets in a query.
func redact(u *url.URL) string {
	if !strings.Contains(u.RawQuery, "secret=") {
		return u.RequestURI()
	}
	q := u.Query()
	q.Set("secret", "…")
	return u.EscapedPath() + "?" + q.Encode()
}
