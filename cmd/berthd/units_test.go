package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The units of systemd call the daemon with commands and flags that it has, and systemd understands them.
func TestUnits(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"berthd", "berth-user"} {
		if err := os.WriteFile(filepath.Join(bin, program), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var units []string
	calls := 0
	for _, name := range []string{"berth.service", "berth.socket", "berth-instances.service", "berth-user.service", "berth-user.socket"} {
		data, err := os.ReadFile("../../packaging/" + name)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(data), "@PREFIX@", dir)
		unit := filepath.Join(dir, name)
		if err := os.WriteFile(unit, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		units = append(units, unit)
		for line := range strings.Lines(text) {
			_, call, found := strings.Cut(line, "="+bin+"/berthd")
			if !found {
				continue
			}
			calls++
			cmd, rest, err := rootCommand().Find(strings.Fields(call))
			if err == nil {
				err = cmd.ParseFlags(rest)
			}
			if err != nil || cmd.Flags().NArg() > 0 {
				t.Errorf("%s: %s%v", name, line, err)
			}
		}
	}
	if calls != 3 {
		t.Errorf("%d calls of berthd in the units", calls)
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed: systemd's own view of the units is not tested")
	}
	out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no", "--recursive-errors=no"}, units...)...).CombinedOutput()
	if err != nil || strings.Contains(string(out), "berth") {
		t.Errorf("systemd-analyze: %v\n%s", err, out)
	}
}
