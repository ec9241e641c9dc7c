// Berth-bench measures a daemon with many containers: it makes, starts, stops and deletes them.
package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/client"
	"github.com/berthd/berth/internal/bench"
	"github.com/berthd/berth/internal/version"
)

func main() {
	if err := command().Execute(); err != nil {
		os.Exit(1)
	}
}

type options struct {
	socket, project, reportFile, reportLabel string
	parallel, count                          int
	privileged, freeze                       bool
	limit                                    time.Duration
}

func command() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use: "berth-bench", Short: "Measure a daemon with many containers",
		Version: version.Version, SilenceUsage: true,
	}
	flags := root.PersistentFlags()
	flags.StringVar(&o.socket, "socket", defaultSocket(), "Unix socket of the daemon")
	flags.StringVar(&o.project, "project", "default", "Project to use")
	flags.IntVarP(&o.parallel, "parallel", "P", runtime.NumCPU(), "Calls at the same time")
	flags.StringVar(&o.reportFile, "report-file", "", "CSV file that the result is appended to")
	flags.StringVar(&o.reportLabel, "report-label", "", "Label of the result (default: the action)")
	flags.DurationVar(&o.limit, "limit", 2*time.Minute, "A call that takes longer counts as hung")
	root.AddCommand(o.create("init", "Create containers", false), o.create("launch", "Create and start containers", true),
		o.action("start", "Start the containers", (*bench.Bench).Start),
		o.action("stop", "Stop the containers, by force", (*bench.Bench).Stop),
		o.action("delete", "Stop and delete the containers", (*bench.Bench).Delete), history())
	return root
}

func defaultSocket() string {
	if s := os.Getenv("BERTH_SOCKET"); s != "" {
		return s
	}
	dir := os.Getenv("BERTH_DIR")
	if dir == "" {
		dir = "/var/lib/berth"
	}
	return filepath.Join(dir, "unix.socket")
}

func (o *options) create(name, short string, start bool) *cobra.Command {
	cmd := &cobra.Command{
		Use: name + " <image alias>", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd, func(b *bench.Bench) (bench.Result, error) {
				return b.Create(cmd.Context(), args[0], o.count, o.privileged, start, o.freeze)
			})
		},
	}
	cmd.Flags().IntVarP(&o.count, "count", "C", 1, "Number of containers")
	cmd.Flags().BoolVar(&o.privileged, "privileged", false, "Make privileged containers")
	if start {
		cmd.Flags().BoolVarP(&o.freeze, "freeze", "F", false, "Freeze each container right after its start")
	}
	return cmd
}

func (o *options) action(name, short string, f func(*bench.Bench, context.Context) (bench.Result, error)) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd, func(b *bench.Bench) (bench.Result, error) { return f(b, cmd.Context()) })
		},
	}
}

// history needs no daemon: it starts its own, each on a store that it has filled.
func history() *cobra.Command {
	h := &bench.History{Path: "database/berth.db"}
	var snapshots []int
	cmd := &cobra.Command{
		Use: "history", Short: "Measure start, lists and memory of daemons with more and more snapshots", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h.Out = cmd.OutOrStdout()
			return h.Run(cmd.Context(), snapshots...)
		},
	}
	cmd.Flags().StringVar(&h.Daemon, "daemon", "berthd", "Program of the daemon")
	cmd.Flags().IntVar(&h.Instances, "instances", 200, "Number of instances")
	cmd.Flags().IntSliceVar(&snapshots, "snapshots", []int{0, 25, 250}, "Snapshots of each, one measurement for each number")
	cmd.Flags().BoolVar(&h.Vary, "vary", false, "Let every snapshot's configuration differ from the one before in five keys or more")
	return cmd
}

func (o *options) run(cmd *cobra.Command, f func(*bench.Bench) (bench.Result, error)) error {
	c, err := client.ConnectUnix(o.socket)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	b := &bench.Bench{Client: c.UseProject(o.project), Parallel: o.parallel, Out: out, Limit: o.limit}
	before := bench.Used(o.socket)
	result, err := f(b)
	bench.Print(out, cmd.Name(), result)
	bench.PrintMemory(out, before, bench.Used(o.socket), result.Count)
	if o.reportFile == "" {
		return err
	}
	label := o.reportLabel
	if label == "" {
		label = cmd.Name()
	}
	return errors.Join(err, bench.Report(o.reportFile, label, result))
}
