package apparmor

import "strings"

// Program is a profile of one of the host's programs: its own code and libraries, what every program reads, and what is named here.
type Program struct {
	Kind, ID string
	// Executables it is, and may start; what is started is under the same profile.
	Executables []string
	// Read and Write are files, or whole folders where they end in a slash. What is written may be read, made and removed.
	Read, Write []string
	// Capabilities without "CAP_", in lower case.
	Capabilities []string
	// Network are families of sockets with, after a blank, a type: "inet dgram", "netlink raw".
	Network []string
}

// common is what every program reads.
var common = []Rule{
	Fixed(`"/{usr/,}lib{,32,64}/**" mr`),
	Fixed(`"/etc/{ld.so.cache,ld.so.preload,localtime,nsswitch.conf,passwd,group,hosts,host.conf,resolv.conf}" r`),
	Fixed(`"/usr/share/{zoneinfo,locale}/**" r`),
	Fixed(`"/dev/{null,zero,full,random,urandom}" rw`),
	Fixed(`"/proc/*/{maps,stat,status,fd/,mounts}" r`),
	Fixed(`"/proc/sys/{kernel/{ngroups_max,cap_last_cap},vm/overcommit_memory}" r`),
	Fixed(`"/sys/devices/system/cpu/{,**}" r`),
}

// Profile compiles it.
func (p Program) Profile() Profile {
	rules := append([]Rule(nil), common...)
	for _, path := range p.Executables {
		rules = append(rules, File(path, "mrix"))
	}
	add := func(paths []string, perms string) {
		for _, path := range paths {
			if strings.HasSuffix(path, "/") {
				rules = append(rules, Tree(path, perms)...)
			} else {
				rules = append(rules, File(path, perms))
			}
		}
	}
	add(p.Read, "r")
	add(p.Write, "rwk")
	for _, name := range p.Capabilities {
		rules = append(rules, Capability(name))
	}
	for _, family := range p.Network {
		rules = append(rules, Network(strings.Fields(family)...))
	}
	return Profile{Kind: p.Kind, ID: p.ID, Rules: append(rules, Self()...)}
}
