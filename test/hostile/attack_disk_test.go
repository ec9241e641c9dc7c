package hostile

import "github.com/berthd/berth/internal/nettest/hide"

func init() {
	// hide-disk keeps what is mounted at a path in a mount namespace that it hides, and answers whether it is there still.
	attacks["hide-disk"] = func(args []string) { hide.AnswerDisk(args[0], args[1], "file", "/tmp") }
}
