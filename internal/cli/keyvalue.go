package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// keyValues turns key=value arguments into a map; "key value" of exactly two arguments is the old form. A value of "-" is read
// from standard input.
func (c *App) keyValues(args ...string) (map[string]string, error) {
	if len(args) < 1 {
		return nil, errors.New(T("Invalid number of arguments"))
	}
	if len(args) == 2 && !strings.Contains(args[0], "=") {
		value, err := c.stdinValue(args[1])
		if err != nil {
			return nil, err
		}
		return map[string]string{args[0]: value}, nil
	}
	out := map[string]string{}
	for _, arg := range args {
		key, value, found := strings.Cut(arg, "=")
		if !found {
			return nil, fmt.Errorf(T("Invalid key=value configuration: %s"), arg)
		}
		value, err := c.stdinValue(value)
		if err != nil {
			return nil, err
		}
		out[key] = value
	}
	return out, nil
}

// stdinValue reads standard input when the value is "-" and nobody types there.
func (c *App) stdinValue(value string) (string, error) {
	if value != "-" || isTerminal(c.In) {
		return value, nil
	}
	data, err := io.ReadAll(io.LimitReader(c.In, 16<<20))
	if err != nil {
		return "", fmt.Errorf(T("Can't read from stdin: %w"), err)
	}
	return string(data), nil
}

// configFlags turns repeated -c key=value into a map.
func configFlags(values []string) (map[string]string, error) {
	out := map[string]string{}
	for _, entry := range values {
		key, value, found := strings.Cut(entry, "=")
		if !found {
			return nil, fmt.Errorf(T("Bad key=value pair: %s"), entry)
		}
		out[key] = value
	}
	return out, nil
}

// deviceFlags turns repeated -d device,key=value[,key=value…] into devices.
func deviceFlags(values []string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	for _, entry := range values {
		name, rest, found := strings.Cut(entry, ",")
		if !found {
			return nil, fmt.Errorf(T("Bad device override syntax, expecting <device>,<key>=<value>: %s"), entry)
		}
		if out[name] == nil {
			out[name] = map[string]string{}
		}
		for _, pair := range strings.Split(rest, ",") {
			key, value, found := strings.Cut(pair, "=")
			if !found {
				return nil, fmt.Errorf(T("Bad device override syntax, expecting <device>,<key>=<value>: %s"), entry)
			}
			out[name][key] = value
		}
	}
	return out, nil
}
