package cli

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/berthd/berth/client"
)

// Output formats.
const (
	formatTable   = "table"
	formatCSV     = "csv"
	formatJSON    = "json"
	formatYAML    = "yaml"
	formatCompact = "compact"
)

// formatFlag adds -f to a command that lists something.
func formatFlag(cmd *cobra.Command) *string {
	return cmd.Flags().StringP("format", "f", formatTable, T("Output format: csv, json, table, yaml or compact")+"``")
}

// printTable writes rows as table, csv or compact, or raw (the API's own values) as json or yaml.
func (c *App) printTable(format string, header []string, rows [][]string, raw any) error {
	return renderTable(c.Out, format, header, rows, raw)
}

func renderTable(w io.Writer, format string, header []string, rows [][]string, raw any) error {
	switch format {
	case formatTable, formatCompact:
		newTable(w, format, header, rows).Render()
		return nil
	case formatCSV:
		out := csv.NewWriter(w)
		if err := out.WriteAll(rows); err != nil {
			return err
		}
		return out.Error()
	case formatJSON:
		return json.NewEncoder(w).Encode(raw)
	case formatYAML:
		data, err := toYAML(raw)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	}
	return fmt.Errorf(T("Invalid format %q"), format)
}

func newTable(w io.Writer, format string, header []string, rows [][]string) *tablewriter.Table {
	t := tablewriter.NewWriter(printableWriter{w})
	t.SetAutoWrapText(false)
	t.SetAlignment(tablewriter.ALIGN_LEFT)
	if format == formatCompact {
		t.SetColumnSeparator("")
		t.SetHeaderLine(false)
		t.SetBorder(false)
	} else {
		t.SetRowLine(true)
	}
	t.SetHeader(header)
	t.AppendBulk(rows)
	return t
}

// toYAML encodes as lxc does: two spaces, lists not indented.
func toYAML(v any) ([]byte, error) {
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	enc.CompactSeqIndent()
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	if err := enc.Close(); err != nil {
		return nil, err
	}
	return []byte(b.String()), nil
}

// printYAML shows a value as YAML.
func (c *App) printYAML(v any) error {
	data, err := toYAML(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.Out, "%s", data)
	return err
}

// sortRows sorts by the first column, names with numbers by their value.
func sortRows(rows [][]string) {
	sort.SliceStable(rows, func(i, j int) bool { return naturalLess(rows[i], rows[j]) })
}

func naturalLess(a, b []string) bool {
	for k := range a {
		if k >= len(b) || a[k] == b[k] {
			continue
		}
		if a[k] == "" {
			return false // rows without the value come last
		}
		if b[k] == "" {
			return true
		}
		return naturalCompare(a[k], b[k]) < 0
	}
	return false
}

// naturalCompare compares runs of digits as numbers.
func naturalCompare(a, b string) int {
	for a != "" && b != "" {
		da, db := leadingDigits(a), leadingDigits(b)
		if da != "" && db != "" {
			na, nb := strings.TrimLeft(da, "0"), strings.TrimLeft(db, "0")
			if len(na) != len(nb) {
				return len(na) - len(nb)
			}
			if d := strings.Compare(na, nb); d != 0 {
				return d
			}
			a, b = a[len(da):], b[len(db):]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

func leadingDigits(s string) string {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return s[:n]
}

// listOf is a command that lists all of one kind on a server: fetch gives the table and, for json and yaml, what it shows. name is what the
// argument has behind the remote; like lxc, most lists pass over it.
func (c *App) listOf(short string, fetch func(server *client.Client, name string) (header []string, rows [][]string, data any, err error)) *cobra.Command {
	cmd := &cobra.Command{Use: usage("list", "[<remote>:]"), Aliases: []string{"ls"}, Short: short}
	format := formatFlag(cmd)
	cmd.RunE = takes(0, 1, func(args []string) error {
		server, name, err := c.parse(first(args))
		if err != nil {
			return err
		}
		header, rows, data, err := fetch(server, name)
		if err != nil {
			return err
		}
		return c.printTable(*format, header, rows, data)
	})
	return cmd
}
