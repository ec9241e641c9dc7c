// Command berth-sandbox reads what strangers made, so that the daemon does not: it gives up all rights, sets limits on itself, and
// then renders templates or becomes a decompressor. The daemon starts it; it is of no use by hand.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/berthd/berth/internal/sandbox"
	"github.com/berthd/berth/internal/template/pongo"
)

func main() {
	verbs := map[string]func(io.Reader, io.Writer) error{"template": pongo.Serve}
	if err := sandbox.Main(os.Args[1:], verbs); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
