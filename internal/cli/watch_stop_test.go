package cli

import (
	"strings"
	"testing"
)

func TestAConsoleThatCannotBeShownIsRefusedFirst(t *testing.T) {
	for args, want := range map[string]string{
		"stop c1 -f --console":      "Error: --console can't be used while forcing instance shutdown\n",
		"stop c1 --console=foo":     "Error: Unknown output type \"foo\"\n",
		"start c1 --console=vga":    "Error: Graphical consoles are for virtual machines, which this server doesn't have\n",
		"launch bb c1 --console=vg": "Error: Unknown output type \"vg\"\n",
	} {
		f := newFake(t)
		if got := berth("", strings.Fields(args)...); got.code != 1 || got.err != want {
			t.Errorf("%s: %+v", args, got)
		}
		if asked := append(f.asked("PUT"), f.asked("POST")...); len(asked) > 0 {
			t.Errorf("%s: asked for %q", args, asked)
		}
	}
}
