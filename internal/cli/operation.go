package cli

import (
	"errors"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/client"
)

func (c *App) operationCommand() *cobra.Command {
	remove := c.simple("delete", "[<remote>:]<operation>", T("Cancel an operation that can be cancelled"), 1, 1, func(args []string) error {
		server, id, err := c.parse(args[0])
		if err != nil {
			return err
		}
		if err := server.CancelOperation(id); err != nil {
			return err
		}
		c.say(T("Operation %s deleted"), id)
		return nil
	})
	remove.Aliases = []string{"cancel", "rm"}
	show := c.simple("show", "[<remote>:]<operation>", T("Print an operation as YAML"), 1, 1, func(args []string) error {
		server, id, err := c.parse(args[0])
		if err != nil {
			return err
		}
		op, err := server.Operation(id)
		if err != nil {
			return err
		}
		return c.printYAML(op.State())
	})
	show.Example = examples(
		"berth operation show 0b6b7a52-6c0e-4a53-9d5f-2f1f7d0f3c11", T("Print how far the operation of that UUID is."),
	)
	return group("operation", T("Look at and cancel operations of a server"), remove, c.operationListCommand(), show)
}

func (c *App) operationListCommand() *cobra.Command {
	return c.listOf(T("List the operations that run"), func(server *client.Client, name string) (header []string, rows [][]string, data any, err error) {
		if name != "" {
			return nil, nil, nil, errors.New(T("Filtering isn't supported yet")) // as lxc says it
		}
		ops, err := server.Operations()
		if err != nil {
			return nil, nil, nil, err
		}
		sort.Slice(ops, func(i, j int) bool { return ops[i].ID < ops[j].ID })
		rows = [][]string{}
		for _, op := range ops {
			cancel := T("NO")
			if op.MayCancel {
				cancel = T("YES")
			}
			rows = append(rows, []string{op.ID, strings.ToUpper(op.Class), op.Description, strings.ToUpper(op.Status), cancel, op.CreatedAt.UTC().Format(layoutShort)})
		}
		header = []string{T("ID"), T("TYPE"), T("DESCRIPTION"), T("STATUS"), T("CANCELABLE"), T("CREATED")}
		return header, rows, ops, nil
	})
}
