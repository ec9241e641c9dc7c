package helper

import "github.com/berthd/berth/internal/program"

// Find is the path of berth-lxc, wherever it is installed.
func Find() string { return program.Find("berth-lxc") }
