package suite

import (
	"fmt"
	"io"
	"strings"
)

// Table writes a Markdown table of results on a host and in the lab, by package. Of subtests it shows those that did not pass.
func Table(w io.Writer, host, lab []Result) error {
	type key struct{ pkg, test string }
	on := map[key]Result{}
	for _, r := range host {
		on[key{r.Package, r.Test}] = r
	}
	in := map[key]Result{}
	for _, r := range lab {
		in[key{r.Package, r.Test}] = r
	}
	seen := map[key]bool{}
	var out strings.Builder
	pkg := ""
	for _, r := range append(append([]Result(nil), lab...), host...) {
		k := key{r.Package, r.Test}
		h, l := on[k], in[k]
		if r.Package == "" { // its package was cut off: what there is of it says nothing
			continue
		}
		if seen[k] || r.Sub() && h.Outcome != Fail && l.Outcome != Fail && h.Outcome != Skip && l.Outcome != Skip {
			continue
		}
		seen[k] = true
		if r.Package != pkg {
			pkg = r.Package
			fmt.Fprintf(&out, "\n### %s\n\n| test | host | lab | why not |\n|---|---|---|---|\n", strings.TrimPrefix(pkg, module))
		}
		fmt.Fprintf(&out, "| %s | %s | %s | %s |\n", cell(r.Test), outcome(h), outcome(l), cell(reasons(h, l)))
	}
	_, err := io.WriteString(w, out.String())
	return err
}

const module = "github.com/berthd/berth/"

func outcome(r Result) string {
	switch r.Outcome {
	case "":
		return "–"
	case Pass:
		return fmt.Sprintf("pass, %.1f s", r.Seconds)
	case Fail:
		return "**FAIL**"
	default:
		return "skip"
	}
}

func reasons(host, lab Result) string {
	var parts []string
	if host.Outcome == Skip || host.Outcome == Fail {
		parts = append(parts, "host: "+host.Reason)
	}
	if lab.Outcome == Skip || lab.Outcome == Fail {
		parts = append(parts, "lab: "+lab.Reason)
	}
	return strings.Join(parts, "; ")
}

func cell(s string) string {
	if len(s) > 160 {
		s = s[:160] + "…"
	}
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s)
}
