package cli

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
)

// imageColumns are the columns of berth image list.
var imageColumns = map[rune]column[api.Image]{
	'l': {T("ALIAS"), imageAliasCell},
	'L': {T("ALIASES"), func(img api.Image) string {
		names := []string{}
		for _, a := range img.Aliases {
			names = append(names, a.Name)
		}
		sort.Strings(names)
		return strings.Join(names, "\n")
	}},
	'f': {T("FINGERPRINT"), func(img api.Image) string { return shortFingerprint(img.Fingerprint) }},
	'F': {T("FINGERPRINT"), func(img api.Image) string { return img.Fingerprint }},
	'p': {T("PUBLIC"), func(img api.Image) string {
		if img.Public {
			return T("yes")
		}
		return T("no")
	}},
	'd': {T("DESCRIPTION"), func(img api.Image) string { return img.Properties["description"] }},
	'a': {T("ARCHITECTURE"), func(img api.Image) string { return img.Architecture }},
	't': {T("TYPE"), func(img api.Image) string {
		if img.Type == "" {
			return "CONTAINER"
		}
		return strings.ToUpper(img.Type)
	}},
	's': {T("SIZE"), func(img api.Image) string { return fmt.Sprintf("%.2fMB", float64(img.Size)/1024.0/1024.0) }},
	'u': {T("UPLOAD DATE"), func(img api.Image) string { return img.UploadedAt.UTC().Format(layoutLong) }},
}

// imageAliasCell shows the shortest alias, and how many more there are.
func imageAliasCell(img api.Image) string {
	shortest := ""
	for _, a := range img.Aliases {
		if shortest == "" || len(a.Name) < len(shortest) {
			shortest = a.Name
		}
	}
	if len(img.Aliases) > 1 {
		shortest += fmt.Sprintf(T(" (%d more)"), len(img.Aliases)-1)
	}
	return shortest
}

func (c *App) imageListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     usage("list", "[<remote>:] [<filter>...]"),
		Aliases: []string{"ls"},
		Short:   T("List the images of a server"),
		Long: paragraphs(T(
			`A filter is a property as key=value, or a part of a fingerprint or of an alias.`), T(
			`The columns to show are given with -c, one letter each, with or without commas between.
The default is lfpdatsu. The letters are:`), T(
			`    l - shortest alias, and how many more there are
    L - all aliases, a line each
    f - first 12 digits of the fingerprint
    F - whole fingerprint
    p - whether everybody may have it
    d - description
    a - architecture
    s - size of its files
    u - when the server got it
    t - for containers or for virtual machines`)),
	}
	columns := cmd.Flags().StringP("columns", "c", "lfpdatsu", T("Columns")+"``")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		remote, filters, err := c.remoteAndFilters(args)
		if err != nil {
			return err
		}
		server, err := c.server(remote)
		if err != nil {
			return err
		}
		cols, err := parseColumns(*columns, imageColumns)
		if err != nil {
			return err
		}
		all, err := server.Images()
		if err != nil {
			return err
		}
		shown := []api.Image{}
		for _, img := range all {
			if imageShown(img, filters) {
				shown = append(shown, img)
			}
		}
		header, rows := tableOf(cols, shown)
		sortRows(rows)
		return c.printTable(*format, header, rows, shown)
	}
	return cmd
}

// remoteAndFilters splits "[<remote>:] [<filter>...]"; "<remote>:<filter>" is one too.
func (c *App) remoteAndFilters(args []string) (remote string, filters []string, err error) {
	if len(args) == 0 {
		remote, _, err = c.parseRemote("")
		return remote, nil, err
	}
	if before, _, found := strings.Cut(args[0], ":"); found {
		if _, ok := c.conf.Remotes[before]; !ok && strings.Contains(args[0], "=") {
			remote, _, err = c.parseRemote("")
			return remote, args, err
		}
		remote, name, err := c.parseRemote(args[0])
		if err != nil {
			return "", nil, err
		}
		if name != "" {
			filters = append(filters, name)
		}
		return remote, append(filters, args[1:]...), nil
	}
	remote, _, err = c.parseRemote("")
	return remote, args, err
}

// imageShown tells whether an image passes all filters.
func imageShown(img api.Image, filters []string) bool {
	for _, f := range filters {
		if key, value, ok := strings.Cut(f, "="); ok {
			if !imagePropertyMatches(img, key, value) {
				return false
			}
			continue
		}
		named := func(a api.ImageAlias) bool { return strings.Contains(a.Name, f) }
		if !strings.Contains(img.Fingerprint, f) && !slices.ContainsFunc(img.Aliases, named) {
			return false
		}
	}
	return true
}

// imagePropertyMatches compares what the API says of an image, or one of its own properties, whose key can be shortened, with a pattern.
func imagePropertyMatches(img api.Image, key, value string) bool {
	field, ok := map[string]string{
		"fingerprint":  img.Fingerprint,
		"type":         img.Type,
		"architecture": img.Architecture,
		"filename":     img.Filename,
		"public":       strconv.FormatBool(img.Public),
		"cached":       strconv.FormatBool(img.Cached),
		"auto_update":  strconv.FormatBool(img.AutoUpdate),
	}[key]
	if ok {
		return propertyPattern(value)(field)
	}
	match := patternOf(value)
	for name, have := range img.Properties {
		if shortenedKey(key, name) && match(have) {
			return true
		}
	}
	return false
}
