package hostile

import (
	"fmt"
	"strconv"

	"github.com/berthd/berth/internal/nettest/hide"
)

func init() {
	// hide-nic moves an interface to a network namespace that it hides, and stays.
	attacks["hide-nic"] = func(args []string) {
		_, err := hide.Namespace(args[0], args[1])
		fmt.Println("hide:", err)
		hide.Stay()
	}
	// pass-nic moves an interface from one network namespace to the next, again and again, and stays.
	attacks["pass-nic"] = func(args []string) {
		fmt.Println("pass:", hide.Pass(args[0]))
		hide.Stay()
	}
	// crowd makes network namespaces, moves an interface into the last, and stays.
	attacks["crowd"] = func(args []string) {
		n, err := strconv.Atoi(args[0])
		for range n {
			if err == nil {
				_, err = hide.Namespace("descriptor", "")
			}
		}
		if err == nil {
			_, err = hide.Namespace("descriptor", args[1])
		}
		fmt.Println("crowd:", err)
		hide.Stay()
	}
}
