// Command berth is the command line client.
package main

import (
	"os"

	"github.com/berthd/berth/internal/cli"
)

func main() { os.Exit(cli.New().Run(os.Args[1:])) }
