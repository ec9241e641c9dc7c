package resources

import (
	"bufio"
	"os"
	"strings"
	"sync"
)

// pciFiles are where systems keep the names of PCI vendors and products.
var pciFiles = []string{"/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"}

// pciTable is read when it is first asked for: names by "vendor" and by "vendor:product".
var pciTable = sync.OnceValue(func() map[string]string {
	table := map[string]string{}
	for _, path := range pciFiles {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		defer f.Close()
		readIDs(bufio.NewScanner(f), table)
		break
	}
	return table
})

func readIDs(scan *bufio.Scanner, table map[string]string) {
	vendor := ""
	for scan.Scan() {
		line := scan.Text()
		switch {
		case line == "" || line[0] == '#' || strings.HasPrefix(line, "\t\t"):
		case strings.HasPrefix(line, "C "): // classes follow
			return
		case line[0] == '\t':
			if id, name, ok := strings.Cut(line[1:], "  "); ok {
				table[vendor+":"+id] = name
			}
		default:
			if id, name, ok := strings.Cut(line, "  "); ok {
				vendor = id
				table[id] = name
			}
		}
	}
}

func pciNames(vendor, product string) (vendorName, productName string) {
	if vendor == "" {
		return "", ""
	}
	t := pciTable()
	return t[vendor], t[vendor+":"+product]
}
