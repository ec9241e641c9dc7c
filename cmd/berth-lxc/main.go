//go:build linux && cgo

// Berth-lxc is the only program of Berth that links liblxc. It does one thing to one container and is gone; what it
// leaves behind after a start, liblxc's monitor, is a copy of its memory, so it imports as little as it can.
//
// It is called by berthd alone, with an environment that has no PATH: liblxc then finds neither newuidmap nor
// newgidmap and writes ID maps itself, as root may.
//
//	berth-lxc start    LXCPATH NAME CONFIG   # ends when init runs; prints "INIT-PID\n"
//	berth-lxc exec     LXCPATH NAME CONFIG   # request on fd 3, report on fd 4, see exec.go
//	berth-lxc console  LXCPATH NAME CONFIG   # relays between the terminal on fd 0 and the console until either ends
//	berth-lxc device   LXCPATH NAME CONFIG allow|deny RULE
//	berth-lxc state    LXCPATH NAME CONFIG   # prints "STATE INIT-PID\n"
//	berth-lxc check    LXCPATH NAME CONFIG   # fails if liblxc does not understand the configuration
//	berth-lxc version                        # prints liblxc's version
//	berth-lxc features                       # prints the API extensions of liblxc that Berth asks about
package main

import (
	"errors"
	"os"
	"strconv"

	"github.com/lxc/go-lxc"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		_, _ = os.Stderr.WriteString("berth-lxc: " + err.Error() + "\n")
		os.Exit(1)
	}
}

var errUsage = errors.New("usage: berth-lxc start|exec|console|device|state|check LXCPATH NAME CONFIG, or version, or features")

func run(args []string) error {
	if len(args) == 1 {
		switch args[0] {
		case "version":
			_, err := os.Stdout.WriteString(lxc.Version() + "\n")
			return err
		case "features":
			return features()
		}
	}
	if len(args) < 4 {
		return errUsage
	}
	c, err := open(args[1], args[2], args[3])
	if err != nil {
		return err
	}
	switch args[0] {
	case "start":
		return start(c)
	case "exec":
		return execute(c)
	case "check":
		return nil // it was loaded
	case "console":
		return console(c)
	case "device":
		if len(args) != 6 {
			return errUsage
		}
		return device(c, args[4], args[5])
	case "state":
		_, err := os.Stdout.WriteString(c.State().String() + " " + strconv.Itoa(c.InitPid()) + "\n")
		return err
	}
	return errUsage
}

func open(path, name, config string) (*lxc.Container, error) {
	c, err := lxc.NewContainer(name, path)
	if err != nil {
		return nil, err
	}
	if err := c.LoadConfigFile(config); err != nil {
		return nil, errors.New("liblxc refuses the configuration " + config)
	}
	return c, nil
}

// start runs the container. Descriptors above 2 are closed in the monitor, and 0 to 2 are its /dev/null, so that
// nothing of the daemon stays open in what outlives this process.
func start(c *lxc.Container) error {
	if err := c.WantCloseAllFds(true); err != nil {
		return err
	}
	if err := c.WantDaemonize(true); err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	_, err := os.Stdout.WriteString(strconv.Itoa(c.InitPid()) + "\n")
	return err
}

func console(c *lxc.Container) error {
	return c.Console(lxc.ConsoleOptions{Tty: 0, StdinFd: 0, StdoutFd: 1, StderrFd: 2, EscapeCharacter: -1})
}

// device changes the device rules of a running container; liblxc knows how with either version of cgroups.
func device(c *lxc.Container, verb, rule string) error {
	if verb != "allow" && verb != "deny" {
		return errUsage
	}
	return c.SetCgroupItem("devices."+verb, rule)
}

// Extensions that the driver renders configuration for only where they are.
var asked = []string{
	"cgroup2", "cgroup2_devices", "idmapped_mounts_v2", "mount_injection_file", "network_phys_macvlan_mtu",
	"pidfd", "seccomp_allow_deny_syntax", "seccomp_notify", "seccomp_proxy_send_notify_fd", "time_namespace",
}

func features() error {
	for _, name := range asked {
		if lxc.HasAPIExtension(name) {
			if _, err := os.Stdout.WriteString(name + "\n"); err != nil {
				return err
			}
		}
	}
	return nil
}
