package rawjson

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Form is how values of T, a struct, are written of which all but a few fields are the same again and again: the open fields are filled
// in for each from an A, the others are encoded once (Encode). Names and order of the fields are those of T.
type Form[T, A any] struct{ fields []*formField[A] }

type formField[A any] struct {
	key  string // `"name":`
	fill func(b []byte, from A) []byte
}

// NewForm makes a form whose open fields, by their names in JSON, are appended by the functions given. A function that appends
// nothing leaves its field out. It panics if T has no field of such a name, as for any mistake of the program in what it is made of:
// forms are made as it starts.
func NewForm[T, A any](open map[string]func(b []byte, from A) []byte) *Form[T, A] {
	f, found := &Form[T, A]{}, 0
	known := map[string]bool{}
	for _, name := range FieldNames(reflect.TypeFor[T]()) {
		if known[name] {
			panic(fmt.Sprintf("rawjson: %v has two fields %q", reflect.TypeFor[T](), name))
		}
		known[name] = true
		if open[name] != nil {
			found++
		}
		f.fields = append(f.fields, &formField[A]{`"` + name + `":`, open[name]})
	}
	if found != len(open) {
		panic(fmt.Sprintf("rawjson: %v lacks an open field of its form", reflect.TypeFor[T]()))
	}
	return f
}

// FieldNames are the names that the fields of a struct have in JSON, in their order there: those of embedded structs are among them.
func FieldNames(t reflect.Type) (names []string) {
	for n := range t.NumField() {
		field := t.Field(n)
		tag, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case tag == "-":
		case tag == "" && field.Anonymous && field.Type.Kind() == reflect.Struct:
			names = append(names, FieldNames(field.Type)...)
		case !field.IsExported():
		case tag == "":
			names = append(names, field.Name)
		default:
			names = append(names, tag)
		}
	}
	return names
}

// Encoded is a value of which the open fields are missing.
type Encoded[A any] struct {
	parts []part[A]
	rest  string
}

// part is the members before an open field, each with a comma behind it, and that field.
type part[A any] struct {
	before string
	field  *formField[A]
}

// Encode encodes v without what is in its open fields.
func (f *Form[T, A]) Encode(v *T) (*Encoded[A], error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	data[len(data)-1] = ',' // so that members are all alike
	text := string(data[1:])
	if text == "," {
		text = ""
	}
	e := &Encoded[A]{}
	begin, at := 0, 0
	for _, field := range f.fields {
		end := at
		if strings.HasPrefix(text[at:], field.key) { // else it is empty, and left out
			end += memberEnd(text[at:]) + len(",")
		}
		if field.fill != nil {
			e.parts = append(e.parts, part[A]{text[begin:at], field})
			begin = end
		}
		at = end
	}
	if at != len(text) {
		return nil, fmt.Errorf("rawjson: %T is not encoded field by field: %s", v, data)
	}
	e.rest = text[begin:]
	return e, nil
}

// Append appends the value as JSON, with open fields filled in from what is given.
func (e *Encoded[A]) Append(b []byte, from A) []byte {
	b = append(b, '{')
	for n := range e.parts {
		p := &e.parts[n]
		b = append(b, p.before...)
		without := len(b)
		b = append(b, p.field.key...)
		with := len(b)
		if b = p.field.fill(b, from); len(b) == with {
			b = b[:without]
		} else {
			b = append(b, ',')
		}
	}
	b = append(b, e.rest...)
	if last := len(b) - 1; b[last] == ',' {
		b[last] = '}'
		return b
	}
	return append(b, '}')
}
