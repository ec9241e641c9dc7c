package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// pages counts the commands that have one.
func pages(cmd *cobra.Command) int {
	n := 1
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			n += pages(sub)
		}
	}
	return n
}

func TestEveryCommandHasAManualPage(t *testing.T) {
	newFake(t)
	dir := t.TempDir()
	if got := berth("", "manpage", dir); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	found, err := filepath.Glob(filepath.Join(dir, "berth*.1"))
	if want := pages((&App{}).rootCommand()); err != nil || len(found) < want || len(found) > want+10 {
		t.Errorf("%d pages of %d commands, %v", len(found), want, err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "berth.exec.1"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(raw), `\&`, "")
	for _, want := range []string{".SH SYNOPSIS", "<remote>", "<command line>", "\\-\\-disable-stdin", "berth exec web", "Folder inside in which it starts (default /root)\n"} {
		if !strings.Contains(text, want) && !strings.Contains(strings.ReplaceAll(text, `\-`, "-"), strings.ReplaceAll(want, `\-`, "-")) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if _, err := exec.LookPath("man"); err != nil {
		t.Log("man is not installed: whether it takes the pages without a warning was not tested")
	} else if out, err := exec.Command("man", "--warnings", "--local-file", filepath.Join(dir, "berth.exec.1")).CombinedOutput(); err != nil || strings.Contains(string(out), "warning") {
		t.Errorf("man: %v\n%s", err, out)
	}
	for format, file := range map[string]string{"md": "berth_exec.md", "rest": "berth_exec.rst", "yaml": "berth_exec.yaml"} {
		if got := berth("", "manpage", dir, "-f", format); got.code != 0 {
			t.Errorf("%s: %+v", format, got)
		}
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
			t.Error(err)
		}
	}
	if got := berth("", "manpage", dir, "-f", "pdf"); got.code != 1 || got.err != "Error: Invalid format \"pdf\"\n" {
		t.Errorf("%+v", got)
	}
}
