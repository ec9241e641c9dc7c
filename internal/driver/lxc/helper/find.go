package helper

import "github.com/berthd/berth/internal/programs"

// Find is the path of berth-lxc, wherever it is installed.
func Find() string { return programs.Find("berth-lxc") }
