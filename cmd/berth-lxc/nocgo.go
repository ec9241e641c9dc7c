//go:build !linux || !cgo

// Berth-lxc links liblxc and so needs cgo; without it there is only this.
package main

import "os"

func main() {
	_, _ = os.Stderr.WriteString("berth-lxc: built without cgo, and so without liblxc\n")
	os.Exit(1)
}
