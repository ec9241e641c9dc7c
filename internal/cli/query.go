package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
)

func (c *App) queryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("query", "[<remote>:]<API path>"),
		Short: T("Send a request to the API of a server"),
		Example: examples(
			"berth query /1.0/instances?recursion=1", T("Print all instances as JSON."),
			`berth query -X PUT --wait -d '{"action": "stop"}' /1.0/instances/web/state`, T("Stop the instance web."),
		),
	}
	f := cmd.Flags()
	wait := f.Bool("wait", false, T("Wait for the end of the operation that the request starts"))
	raw := f.Bool("raw", false, T("Print the whole answer, with its envelope"))
	method := f.StringP("request", "X", http.MethodGet, T("HTTP method")+"``")
	data := f.StringP("data", "d", "", T("Body of the request, such as JSON")+"``")
	cmd.RunE = takes(1, 1, func(args []string) error {
		if c.flagProject != "" {
			return errors.New(T("--project cannot be used with the query command"))
		}
		return c.query(args[0], *method, *data, *wait, *raw)
	})
	return cmd
}

func (c *App) query(target, method, data string, wait, raw bool) error {
	// A path may hold colons: only what stands before its first slash can be a remote.
	before, after, found := strings.Cut(target, "/")
	remote, rest, err := c.parseRemote(before)
	if err != nil {
		return err
	}
	apiPath := rest
	if found {
		apiPath = rest + "/" + after
	}
	if !strings.HasPrefix(apiPath, "/") {
		return errors.New(T("Query path must start with /"))
	}
	server, err := c.server(remote)
	if err != nil {
		return err
	}
	var body any
	if data != "" {
		body = json.RawMessage(data)
		if !json.Valid([]byte(data)) {
			body = strings.NewReader(data)
		}
	}
	if raw {
		resp, err := server.Raw(method, apiPath, body)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		return c.printAnswer(resp.Body)
	}
	resp, _, err := server.Do(method, apiPath, body, "")
	if err != nil {
		if isFile, fileErr := c.queryFile(server.Raw, method, apiPath, body, err); isFile {
			return fileErr
		}
		return err
	}
	if wait && resp.Type == api.AsyncResponse {
		id := path.Base(resp.Operation)
		op, err := server.Operation(id)
		if err != nil {
			return err
		}
		if err := c.waitOp(op, nil); err != nil {
			return err
		}
		final, err := json.Marshal(op.State())
		if err != nil {
			return err
		}
		return c.printJSON(final)
	}
	return c.printJSON(resp.Metadata)
}

// queryFile prints an answer that is no envelope, such as a log file.
func (c *App) queryFile(raw func(string, string, any) (*http.Response, error), method, apiPath string, body any, err error) (bool, error) {
	var e *api.Error
	if errors.As(err, &e) || method != http.MethodGet {
		return false, nil
	}
	resp, rawErr := raw(method, apiPath, body)
	if rawErr != nil {
		return false, nil
	}
	defer resp.Body.Close()
	_, rawErr = io.Copy(c.Out, resp.Body)
	return true, rawErr
}

// printAnswer shows a whole answer.
func (c *App) printAnswer(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return c.printJSON(data)
}

// printJSON shows JSON with tabs; an empty object or null shows nothing.
func (c *App) printJSON(data []byte) error {
	trimmed := strings.TrimSpace(string(data))
	if trimmed == "" || trimmed == "null" || trimmed == "{}" {
		return nil
	}
	var buf bytes.Buffer
	if err := json.Indent(&buf, []byte(trimmed), "", "\t"); err != nil {
		fmt.Fprintln(c.Out, trimmed)
		return nil
	}
	fmt.Fprintf(c.Out, "%s\n\n", buf.String())
	return nil
}
