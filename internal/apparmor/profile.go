package apparmor

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Kinds of profiles, which are part of their names.
const (
	Instance = "instance"
	Dnsmasq  = "dnsmasq"
	Unpack   = "unpack"
)

// Profile says what its processes may do. What no rule allows is denied.
type Profile struct {
	Kind string // one of the above
	ID   string // tells those of a kind apart: an instance's ID, a network's name
	// Rules in any order.
	Rules []Rule
	// Raw are further rules in AppArmor's own language, put last: an administrator's (raw.apparmor).
	Raw string
	// Namespace lays the profile over a policy namespace of its own, in which the confined may load profiles for themselves.
	Namespace bool
}

var (
	validKind = regexp.MustCompile(`^[a-z]+$`)
	validID   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$`)
)

// Name is what a profile is called in the kernel, and its file on disk.
func (h *Host) Name(kind, id string) string { return h.prefix + kind + "-" + id }

// Label is what a process is to be confined as: the profile, over its namespace where it has one.
func (h *Host) Label(p Profile) string {
	name := h.Name(p.Kind, p.ID)
	if p.Namespace && h.stacks() {
		return name + "//&:" + name + ":"
	}
	return name
}

// self matches the label of whoever runs under the profile, whatever it is confined to further in its namespace.
func self(name string) string { return `"` + name + `{,//&**}"` }

// confines is the rule that lets those within the namespace of a profile choose among the profiles there.
func confines(name string) string { return `change_profile -> ":` + name + `:**"` }

// Text is the profile in AppArmor's language.
func (h *Host) Text(p Profile) (string, error) {
	if !validKind.MatchString(p.Kind) || !validID.MatchString(p.ID) {
		return "", fmt.Errorf("%q cannot be part of the name of an AppArmor profile", p.Kind+"-"+p.ID)
	}
	name := h.Name(p.Kind, p.ID)
	var b strings.Builder
	// What the host hands in (terminals, sockets, mounts from outside) has no path inside, and what is deleted may still be used.
	fmt.Fprintf(&b, "profile \"%s\" flags=(attach_disconnected,mediate_deleted) {\n", name)
	var errs []error
	for _, r := range p.Rules {
		errs = append(errs, r.err)
		fmt.Fprintf(&b, "  %s,\n", strings.ReplaceAll(r.text, selfMark, self(name)))
	}
	if p.Namespace && h.stacks() {
		fmt.Fprintf(&b, "  %s,\n", confines(name))
	}
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	if p.Raw != "" {
		if err := CheckRaw(p.Raw); err != nil {
			return "", err
		}
		b.WriteString("\n  # raw.apparmor\n")
		for line := range strings.Lines(p.Raw) {
			b.WriteString("  " + strings.TrimRight(line, "\r\n") + "\n")
		}
	}
	b.WriteString("}\n")
	return b.String(), nil
}

// selfMark stands for the label of the profile's own processes in a rule; see Self.
const selfMark = "@{self}"

// Self are rules that let processes under the profile trace and signal each other, and be traced and signalled by the host.
func Self() []Rule {
	return []Rule{
		Fixed("ptrace (readby, tracedby)"),
		Fixed("ptrace (read, trace) peer=" + selfMark),
		Fixed("signal (receive)"),
		Fixed("signal (send) peer=" + selfMark),
		// Sockets of its own, and those that the host has handed in. Only some kernels look at these two rules.
		Fixed("unix (create, bind, listen, getattr, setattr, getopt, setopt, shutdown)"),
		Fixed("unix (connect, accept, send, receive) peer=(label=" + selfMark + ")"),
		Fixed("unix (connect, accept, send, receive) peer=(label=unconfined)"),
	}
}
