package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

func (c *App) monitorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("monitor", "[<remote>:]"),
		Short: T("Print what happens on a server as it happens"),
		Long:  T("Without --type all kinds of messages are shown."),
		Example: examples(
			"berth monitor --type=lifecycle", T("Print what is made, changed and deleted."),
			"berth monitor --loglevel=warning --type=logging --pretty", T("Print the server's warnings and errors, a line each."),
		),
	}
	f := cmd.Flags()
	types := f.StringArray("type", nil, T("Kind of message to print: lifecycle, logging or operation; may be repeated")+"``")
	pretty := f.Bool("pretty", false, T("The same as --format=pretty"))
	level := f.String("loglevel", "", T("Lowest level of log messages to print, with --format=pretty")+"``")
	format := f.StringP("format", "f", formatYAML, T("Output format: json, pretty or yaml")+"``")
	all := f.Bool("all-projects", false, T("Print what happens in all projects"))
	cmd.RunE = takes(0, 1, func(args []string) error {
		if *pretty {
			*format = "pretty"
		}
		if !slices.Contains([]string{formatJSON, "pretty", formatYAML}, *format) {
			return fmt.Errorf(T("Invalid format: %s"), *format)
		}
		if *level != "" && *format != "pretty" {
			return errors.New(T("Log level filtering can only be used with pretty formatting"))
		}
		if *format == "pretty" && len(*types) == 0 {
			*types = []string{"lifecycle", "logging", "operation"}
		}
		if err := knownLevel(*level); err != nil {
			return err
		}
		server, _, err := c.parse(first(args))
		if err != nil {
			return err
		}
		return c.monitor(server, *types, *format, *level, *all)
	})
	return cmd
}

var logLevels = []string{"trace", "debug", "info", "warning", "error", "fatal", "panic"}

func knownLevel(level string) error {
	if level == "" || slices.Contains(logLevels, normalLevel(level)) {
		return nil
	}
	return fmt.Errorf(T("Invalid log level %q"), level)
}

// normalLevel knows the short and other names of levels.
func normalLevel(level string) string {
	switch level = strings.ToLower(level); level {
	case "dbug":
		return "debug"
	case "warn":
		return "warning"
	case "eror", "err":
		return "error"
	case "crit":
		return "fatal"
	}
	return level
}

func (c *App) monitor(server *client.Client, types []string, format, level string, all bool) error {
	ctx, cancel := context.WithCancel(background())
	defer cancel()
	open := server.Events
	if all {
		open = server.EventsAllProjects
	}
	events, err := open(ctx, types...)
	if err != nil {
		return err
	}
	defer events.Close()
	for {
		event, err := events.Next()
		if err != nil {
			return err
		}
		if err := c.showEvent(event, format, level); err != nil {
			return err
		}
	}
}

func (c *App) showEvent(event *api.Event, format, level string) error {
	switch format {
	case formatJSON:
		data, err := json.Marshal(event)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.Out, "%s\n", data)
		return err
	case formatYAML:
		data, err := json.Marshal(event)
		if err != nil {
			return err
		}
		var generic map[string]any
		if err := json.Unmarshal(data, &generic); err != nil {
			return err
		}
		text, err := toYAML(generic)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.Out, "%s\n\n", text)
		return err
	}
	line, err := prettyEvent(event, level)
	if err != nil || line == "" {
		return err
	}
	_, err = fmt.Fprintln(printableWriter{c.Out}, line)
	return err
}

// prettyEvent makes one line of an event, or none when its level is too low.
func prettyEvent(event *api.Event, least string) (string, error) {
	level, message := "info", ""
	fields := map[string]string{}
	switch event.Type {
	case "logging":
		var m api.EventLogging
		if err := json.Unmarshal(event.Metadata, &m); err != nil {
			return "", err
		}
		level, message, fields = normalLevel(m.Level), m.Message, m.Context
	case "lifecycle":
		var m api.EventLifecycle
		if err := json.Unmarshal(event.Metadata, &m); err != nil {
			return "", err
		}
		message = fmt.Sprintf("Action: %s, Source: %s", m.Action, m.Source)
		if m.Requestor != nil {
			message += fmt.Sprintf(", Requestor: %s/%s", m.Requestor.Protocol, m.Requestor.Username)
			if m.Requestor.Address != "" {
				message += " (" + m.Requestor.Address + ")"
			}
		}
		for k, v := range m.Context {
			fields[k] = fmt.Sprint(v)
		}
	case "operation":
		var m api.Operation
		if err := json.Unmarshal(event.Metadata, &m); err != nil {
			return "", err
		}
		message = fmt.Sprintf("ID: %s, Class: %s, Description: %s", m.ID, m.Class, m.Description)
		fields["CreatedAt"], fields["Err"], fields["Status"] = m.CreatedAt.UTC().Format("2006-01-02T15:04:05-0700"), m.Err, m.Status
		fields["Location"] = m.Location
	default:
		return "", nil
	}
	if least != "" && event.Type == "logging" && slices.Index(logLevels, level) < slices.Index(logLevels, normalLevel(least)) {
		return "", nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-7s [%s] %s", strings.ToUpper(level), event.Timestamp.Format("2006-01-02T15:04:05-07:00"), message)
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		fmt.Fprintf(&b, " %s=%s", k, quoteField(fields[k]))
	}
	return b.String(), nil
}

func quoteField(v string) string {
	if v == "" || strings.ContainsAny(v, " \"=\n\t") {
		return fmt.Sprintf("%q", v)
	}
	return v
}
