package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berthd/berth/test/harness"
)

func TestShellsComplete(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("init", "bb", "c1")
	d.Berth("snapshot", "c1", "s1")
	scripts := t.TempDir()
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script := d.Berth("completion", shell)
		if err := os.WriteFile(filepath.Join(scripts, shell), []byte(script), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := exec.LookPath(shell); err != nil {
			t.Logf("%s is not installed: only that its script is made was tested", shell)
			continue
		}
		if _, err := d.Try(shell, "-n", filepath.Join(scripts, shell)); err != nil {
			t.Errorf("%s does not read its script: %v", shell, err)
		}
	}
	for line, want := range map[string]string{
		"berth st": "start stop storage", "berth start ": "c1", "berth delete c1/": "c1/s1", "berth launch b": "bb", "berth config set c1 limits.memory.e": "limits.memory.enforce=",
		"berth config device add c1 x ": "disk nic none", "berth config device add c1 x nic nictype=": "bridged macvlan p2p",
		"berth profile device set default root pro": "propagation=", "berth profile device set default root propagation=s": "shared slave",
	} {
		// What bash and its package of completions do when Tab is pressed.
		script := `_get_comp_words_by_ref() { cur=${COMP_WORDS[COMP_CWORD]}; prev=${COMP_WORDS[COMP_CWORD-1]}; words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; }
			source "$1"; PATH="$2:$PATH"; COMP_LINE=$3; COMP_POINT=${#3}; read -ra COMP_WORDS <<<"$3"; [ "${3% }" = "$3" ] || COMP_WORDS+=("")
			COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_TYPE=9; compopt() { :; }; __start_berth; echo "${COMPREPLY[*]%%	*}"`
		out, err := d.Try("bash", "-c", script, "bash", filepath.Join(scripts, "bash"), filepath.Dir(harness.Program("berth")), line)
		got := strings.Fields(out)
		for _, word := range strings.Fields(want) {
			if !strings.Contains(" "+strings.Join(got, " ")+" ", " "+word+" ") {
				t.Errorf("%q: %q, %v", line, out, err)
			}
		}
	}
}
