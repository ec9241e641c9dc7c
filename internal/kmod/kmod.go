// Package kmod loads kernel modules of the host.
package kmod

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

var name = regexp.MustCompile(`^[A-Za-z0-9_][-A-Za-z0-9_]*$`)

// Parse reads a list of module names with commas between them.
func Parse(list string) ([]string, error) {
	var names []string
	for one := range strings.SplitSeq(list, ",") {
		switch one = strings.TrimSpace(one); {
		case one == "":
		case !name.MatchString(one):
			return nil, fmt.Errorf("Invalid kernel module name %q", one) // clients show it as a sentence
		default:
			names = append(names, one)
		}
	}
	return names, nil
}

// Load makes sure that a module is in the kernel. One that is there already needs no program.
func Load(ctx context.Context, module string) error {
	if !name.MatchString(module) {
		return fmt.Errorf("Invalid kernel module name %q", module) // clients show it as a sentence
	}
	if _, err := os.Stat(filepath.Join("/sys/module", strings.ReplaceAll(module, "-", "_"))); err == nil {
		return nil
	}
	out, err := exec.CommandContext(ctx, "modprobe", "-b", "--", module).CombinedOutput()
	if err != nil {
		said := strings.TrimSpace(string(out[:min(len(out), maxSaid)]))
		// as LXD says it
		return fmt.Errorf("Failed to load kernel module '%s': Failed to run: modprobe -b %s: %w (%s)", module, module, err, said)
	}
	return nil
}

// maxSaid bounds what is shown of modprobe's words, in bytes.
const maxSaid = 512
