package initcmd

import (
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/berthd/berth/internal/i18n"
)

// Flags adds the flags of a server's configuration to a command's.
func Flags(f *pflag.FlagSet) *Options {
	o := &Options{}
	t := i18n.T
	f.BoolVar(&o.Auto, "auto", false, t("Set up a pool, a network and the default profile, without questions"))
	f.BoolVar(&o.Minimal, "minimal", false, t("The same as --auto, but taken with no other flag"))
	f.BoolVar(&o.Preseed, "preseed", false, t("Take what to set up from stdin, as YAML"))
	f.BoolVar(&o.Dump, "dump", false, t("Print what is set up, as YAML that --preseed takes"))
	f.StringVar(&o.NetworkAddress, "network-address", "", t("Address to answer on over the network (default: none)")+"``")
	f.IntVar(&o.NetworkPort, "network-port", -1, t("Port to answer on (default: 8443)")+"``")
	f.StringVar(&o.StorageBackend, "storage-backend", "", t("Driver of the storage pool: dir (the default)")+"``")
	f.StringVar(&o.StorageDevice, "storage-create-device", "", t("Block device to put the pool on")+"``")
	f.IntVar(&o.StorageLoop, "storage-create-loop", -1, t("Size in GiB of a file to put the pool in")+"``")
	f.Lookup("network-port").DefValue, f.Lookup("storage-create-loop").DefValue = "0", "0" // pflag prints no default that is zero: -1 is what nobody types
	f.StringVar(&o.StoragePool, "storage-pool", "", t("Pool that the driver is to use or to make; not for dir")+"``")
	f.StringVar(&o.TrustPassword, "trust-password", "", t("Password by which new clients get the server's trust")+"``")
	return o
}

// Ask gives questions on the streams of a command. Passwords are read unseen where in is a terminal.
func Ask(in io.Reader, out, errs io.Writer) *Questions {
	q := &Questions{Out: out, Err: errs, Line: func() (string, error) { return ReadLine(in) }}
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		q.Person = true
		q.Secret = func() (string, error) {
			data, err := term.ReadPassword(int(f.Fd()))
			return string(data), err
		}
	}
	return q
}

// ReadLine reads up to a line break, byte by byte: what follows belongs to somebody else.
func ReadLine(in io.Reader) (string, error) {
	var line []byte
	buf := make([]byte, 1)
	for {
		n, err := in.Read(buf)
		if n == 1 {
			if buf[0] == '\n' {
				return strings.TrimSuffix(string(line), "\r"), nil
			}
			line = append(line, buf[0])
			continue
		}
		if err != nil {
			if len(line) > 0 {
				return string(line), nil
			}
			return "", err
		}
	}
}
