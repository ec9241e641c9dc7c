// Command lab runs tests and commands in the lab's guest; test/lab/run builds and calls it. docs/lab.md says how.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/berthd/berth/test/lab/machine"
	"github.com/berthd/berth/test/lab/suite"
)

const usage = `lab run [-list FILE] [-timeout 30m] [-keep] [PACKAGE… [FLAG OF GO TEST…]]
                     tests in a guest of its own, or with -keep in the one that is kept
lab up               start a guest and keep it
lab exec COMMAND…    run a command in it; one argument alone is a script
lab down             end it
lab save             boot once and save the state, so that guests are up in seconds
lab table HOST LAB   a table of two outputs of "go test -v"

The guest sees the source tree that lab is called in, under the same path.

LAB_DIR     folder of the image (default /var/cache/berth/lab)
LAB_MEMORY  MiB of a guest (default 1536); LAB_CPUS: number (default 2)
`

const kept = "kept"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	status, err := command(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		status = max(status, 1)
	}
	os.Exit(status)
}

func command(ctx context.Context, args []string) (int, error) {
	c, err := config()
	if err != nil {
		return 1, err
	}
	if len(args) == 0 {
		args = []string{""}
	}
	switch args[0] {
	case "run":
		return run(ctx, c, args[1:])
	case "up":
		return 0, up(ctx, c)
	case "exec":
		return execute(ctx, c, args[1:])
	case "down":
		m, err := machine.Attach(c, kept)
		if err != nil {
			return 1, err
		}
		return 0, m.Stop()
	case "save":
		ctx, cancel := context.WithTimeout(ctx, bootLimit)
		defer cancel()
		return 0, errors.Join(sweep(c), machine.Save(ctx, c, own()))
	case "table":
		return 0, table(args[1:])
	default:
		fmt.Fprint(os.Stderr, usage)
		return 2, nil
	}
}

// bootLimit is generous: a boot takes 15 s on a quiet host and minutes on a busy one.
const bootLimit = 10 * time.Minute

func config() (machine.Config, error) {
	tree, err := top()
	if err != nil {
		return machine.Config{}, err
	}
	return machine.Environment(tree)
}

// top is the folder of the source tree that this process runs in.
func top() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == "/" {
			return "", errors.New("this is not in a source tree: no go.mod here or above")
		}
	}
}

// own is the name of this process's machine.
func own() string { return strconv.Itoa(os.Getpid()) }

func sweep(c machine.Config) error {
	names, err := machine.Sweep(c)
	if len(names) > 0 {
		fmt.Fprintf(os.Stderr, "lab: ended what killed runs left: %s\n", strings.Join(names, ", "))
	}
	return err
}

// start starts a machine and makes it ready for jobs.
func start(ctx context.Context, c machine.Config, name string, keep bool) (*machine.Machine, error) {
	if err := sweep(c); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	begin := time.Now()
	m, err := machine.Start(ctx, c, name, keep)
	if err != nil {
		return nil, err
	}
	if err := m.Prepare(ctx); err != nil {
		return nil, errors.Join(err, m.Stop())
	}
	fmt.Fprintf(os.Stderr, "lab: the guest is up after %.1f s\n", time.Since(begin).Seconds())
	return m, nil
}

func up(ctx context.Context, c machine.Config) error {
	_, err := start(ctx, c, kept, true)
	return err
}

func execute(ctx context.Context, c machine.Config, words []string) (int, error) {
	m, err := machine.Attach(c, kept)
	if err != nil {
		return 1, err
	}
	if len(words) != 1 {
		for i := range words {
			words[i] = machine.Quote(words[i])
		}
	}
	streams := machine.Streams{Stdout: os.Stdout, Stderr: os.Stderr}
	if info, err := os.Stdin.Stat(); err == nil && info.Mode()&os.ModeCharDevice == 0 {
		streams.Stdin = os.Stdin
	}
	return m.Run(ctx, strings.Join(words, " "), streams)
}

func run(ctx context.Context, c machine.Config, args []string) (int, error) {
	flags := flag.NewFlagSet("run", flag.ExitOnError)
	list := flags.String("list", "", "file with a package and flags of go test per line")
	timeout := flags.Duration("timeout", time.Hour, "bound of it all")
	keep := flags.Bool("keep", false, "in the guest that is kept")
	_ = flags.Parse(args)
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	entries, err := entries(*list, flags.Args())
	if err != nil {
		return 1, err
	}
	programs, err := suite.Compile(ctx, entries, filepath.Join(c.Tree, "bin/lab"))
	if err != nil {
		return 1, err
	}
	m, err := guest(ctx, c, *keep)
	if err != nil {
		return 1, err
	}
	begin, before := time.Now(), m.CPU()
	results := &suite.Results{To: os.Stdout}
	ok, err := suite.Run(ctx, m, programs, results)
	suite.Summary(os.Stdout, results, time.Since(begin), m.CPU()-before)
	if !*keep {
		err = errors.Join(err, m.Stop())
	}
	if !ok {
		return 1, err
	}
	return 0, err
}

func guest(ctx context.Context, c machine.Config, keep bool) (*machine.Machine, error) {
	if !keep {
		return start(ctx, c, own(), false)
	}
	m, err := machine.Attach(c, kept)
	if err != nil {
		return nil, err
	}
	return m, m.Prepare(ctx)
}

// entries are those of the list and one of the arguments: packages, then flags for all of them.
func entries(list string, args []string) ([]suite.Entry, error) {
	var all []suite.Entry
	if list != "" {
		var err error
		if all, err = suite.ReadList(list); err != nil {
			return nil, err
		}
	}
	n := 0
	for n < len(args) && !strings.HasPrefix(args[n], "-") {
		n++
	}
	for _, pattern := range args[:n] {
		all = append(all, suite.Entry{Pattern: pattern, Flags: args[n:]})
	}
	if len(all) == 0 {
		return nil, errors.New("which packages? (lab run PACKAGE…, or -list FILE)")
	}
	return all, nil
}

func table(args []string) error {
	if len(args) != 2 {
		return errors.New("table takes two files: the host's output and the lab's")
	}
	var both [2]suite.Results
	for i, path := range args {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if _, err := both[i].Write(data); err != nil {
			return err
		}
	}
	return suite.Table(os.Stdout, both[0].All, both[1].All)
}
