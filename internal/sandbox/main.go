package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Main is the program berth-sandbox: LIMITS run PATH [ARGUMENT…], or LIMITS VERB with one of verbs, each of which reads
// its standard input and writes its standard output. It returns only with an error.
func Main(args []string, verbs map[string]func(in io.Reader, out io.Writer) error) error {
	if len(args) < 2 {
		return errors.New("this program is for berthd; it takes limits and a verb")
	}
	limits, err := ParseLimits(args[0])
	if err != nil {
		return err
	}
	if args[1] == "run" {
		return run(limits, args[2:])
	}
	verb, ok := verbs[args[1]]
	if !ok {
		return fmt.Errorf("unknown verb %q", args[1])
	}
	if err := Confine(limits, Computes); err != nil {
		return err
	}
	return verb(os.Stdin, os.Stdout)
}

func run(limits Limits, argv []string) error {
	if len(argv) == 0 {
		return errors.New("run: no program")
	}
	if err := Confine(limits, RunsTool); err != nil {
		return err
	}
	if err := syscall.Exec(argv[0], argv, os.Environ()); err != nil {
		return fmt.Errorf("run %s: %w", argv[0], err)
	}
	return nil
}
