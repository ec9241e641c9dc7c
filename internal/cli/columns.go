package cli

import (
	"fmt"
	"strings"
)

// column is one column of a list of V.
type column[V any] struct {
	name string
	cell func(V) string
}

// parseColumns turns shorthand characters (commas between them are optional) into columns.
func parseColumns[V any](spec string, known map[rune]column[V]) ([]column[V], error) {
	var out []column[V]
	for _, group := range strings.Split(spec, ",") {
		if group == "" {
			return nil, fmt.Errorf(T("No column between two commas, or before the first or after the last one, in '%s'"), spec)
		}
		for _, r := range group {
			col, ok := known[r]
			if !ok {
				return nil, fmt.Errorf(T("Unknown column shorthand char '%c' in '%s'"), r, group)
			}
			out = append(out, col)
		}
	}
	return out, nil
}

// tableOf makes the header and the rows of a list.
func tableOf[V any](cols []column[V], values []V) (header []string, rows [][]string) {
	for _, col := range cols {
		header = append(header, col.name)
	}
	for _, v := range values {
		row := make([]string, 0, len(cols))
		for _, col := range cols {
			row = append(row, col.cell(v))
		}
		rows = append(rows, row)
	}
	return header, rows
}
