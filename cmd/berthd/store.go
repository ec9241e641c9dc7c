package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/internal/store"
)

// defaultStore is where the daemon of $BERTH_DIR keeps its store.
func defaultStore() string {
	dir := os.Getenv("BERTH_DIR")
	if dir == "" {
		dir = "/var/lib/berth"
	}
	return filepath.Join(dir, "database", "berth.db")
}

// storeCommand is "berthd store": what one does with the store's file while no daemon can.
func storeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Check, show, back up and restore the store's file",
		Long: "Check, show, back up and restore the store's file.\n\n" +
			"Without a path it is the one below $BERTH_DIR. All but restore work while a daemon uses the file.",
	}
	cmd.AddCommand(storeCheckCommand(), storeDumpCommand(), storeBackupCommand(), storeRestoreCommand())
	return cmd
}

func storeCheckCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check [path]",
		Short: "Read all of a store and say what is in it, or what is wrong with it",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := storePath(args)
			report, err := store.CheckFile(path)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(report)
			}
			return printReport(cmd.OutOrStdout(), path, report)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the report as JSON")
	return cmd
}

func printReport(w io.Writer, path string, r store.Report) error {
	total := 0
	for _, n := range r.Tables {
		total += n
	}
	_, err := fmt.Fprintf(w, "%s is whole: schema %d, revision %d, %d entries in %d tables, %d bytes\n",
		path, r.Schema, r.Revision, total, len(r.Tables), r.Bytes)
	return err
}

func storeDumpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "dump [path]",
		Short: "Print a store as lines of JSON",
		Long:  "Print a store as lines of JSON. They hold secrets: password hashes and whatever users put into configuration.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return store.DumpFile(storePath(args), cmd.OutOrStdout())
		},
	}
}

func storeBackupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backup [path] <target>",
		Short: "Write a checked copy of a store",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			target := args[len(args)-1]
			return store.BackupFile(storePath(args[:len(args)-1]), target)
		},
	}
}

func storeRestoreCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "restore [path] <backup>",
		Short: "Put a backup in the place of a store, which no daemon may be using",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := storePath(args[:len(args)-1])
			if err := store.RestoreFile(args[len(args)-1], path); err != nil {
				return err
			}
			if file, err := filepath.EvalSymlinks(path); err == nil {
				path = file
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "restored; the store that was there is %s.before-restore\n", path)
			return err
		},
	}
}

func storePath(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return defaultStore()
}
