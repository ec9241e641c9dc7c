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
	f.BoolVar(&o.Auto, "auto", false, t("Automatic (non-interactive) mode"))
	f.BoolVar(&o.Minimal, "minimal", false, t("Minimal configuration (non-interactive)"))
	f.BoolVar(&o.Preseed, "preseed", false, t("Pre-seed mode, expects YAML config from stdin"))
	f.BoolVar(&o.Dump, "dump", false, t("Dump YAML config to stdout"))
	f.StringVar(&o.NetworkAddress, "network-address", "", t("Address to bind the server to (default: none)")+"``")
	f.IntVar(&o.NetworkPort, "network-port", -1, t("Port to bind the server to (default: 8443)")+"``")
	f.StringVar(&o.StorageBackend, "storage-backend", "", t("Storage backend to use (dir, the default)")+"``")
	f.StringVar(&o.StorageDevice, "storage-create-device", "", t("Setup device based storage using DEVICE")+"``")
	f.IntVar(&o.StorageLoop, "storage-create-loop", -1, t("Setup loop based storage with SIZE in GB")+"``")
	f.StringVar(&o.StoragePool, "storage-pool", "", t("Storage pool to use or create")+"``")
	f.StringVar(&o.TrustPassword, "trust-password", "", t("Password required to add new clients")+"``")
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
