//go:build !linux

package cli

import (
	"context"
	"errors"
	"os"
)

var errOnlyLinux = errors.New("this needs a Linux system")

func packImageFolder(context.Context, string) (string, error) { return "", errOnlyLinux }

func buildImage(context.Context, *os.File, buildArgs, func(string), func(string)) error {
	return errOnlyLinux
}
