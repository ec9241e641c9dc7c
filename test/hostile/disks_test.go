package hostile

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berthd/berth/internal/nettest/hide"
	"github.com/berthd/berth/test/harness"
)

// Root inside keeps a disk in a mount namespace of its own, wherever that can be, while the device is removed.
func TestHiddenDisks(t *testing.T) {
	dir := folder(t)
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	eachKind(t, nil, func(g *guest) {
		for _, place := range slices.Sorted(maps.Keys(hide.DiskPlaces)) {
			g.Berth("config", "device", "add", g.name, "gone", "disk", "source="+dir, "path=/gone")
			if !g.staying("hide-disk", place, "/gone") {
				continue
			}
			_, err := g.Try(harness.Program("berth"), "config", "device", "remove", g.name, "gone")
			listed := strings.Contains(g.Berth("config", "device", "list", g.name), "gone")
			said := strings.TrimSpace(g.Berth("exec", g.name, "--", "sh", "-c", "echo > /tmp/ask; cat /tmp/answer"))
			what := "a disk in a mount namespace: " + place
			switch {
			case err == nil && said != "false <nil>" && (place == "root" || hide.DiskPlaces[place] && g.privileged):
				g.t.Logf("attempt: %s guest: %s: it keeps it, as it keeps what it has open", g.kind(), what)
			case err == nil && said != "false <nil>":
				g.t.Errorf("attempt: %s guest: %s: NOT STOPPED, it is said to be removed and is there (%s)", g.kind(), what, said)
			case (err == nil) == listed:
				g.t.Errorf("%s: the removal says %v, and of the device being there %t", what, err, listed)
			case err == nil:
				g.stopped(what, "all its mount namespaces are looked through while it stands still")
			case place == "root" || hide.DiskPlaces[place] && g.privileged:
				g.stopped(what, fmt.Sprintf("what cannot be taken is not said to be removed: %v", err))
			default:
				g.t.Errorf("%s: %v", what, err)
			}
			g.Berth("restart", "--force", g.name)
			if err != nil { // and then it can be
				g.Berth("config", "device", "remove", g.name, "gone")
			}
			g.Berth("exec", g.name, "--", "rm", "-f", "/tmp/ask", "/tmp/answer")
		}
	})
}
