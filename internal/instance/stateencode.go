package instance

import (
	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/rawjson"
)

// appendState appends what json.Marshal makes of s, without reflection: a list of all instances with their state holds one of each.
func appendState(b []byte, s *api.InstanceState) []byte {
	b = rawjson.AppendStringMember(append(b, '{'), "status", s.Status)
	b = rawjson.AppendIntMember(b, "status_code", s.StatusCode)
	b = rawjson.AppendMap(rawjson.AppendKey(b, "disk"), s.Disk, appendDisk)
	b = appendMemory(rawjson.AppendKey(b, "memory"), &s.Memory)
	b = rawjson.AppendMap(rawjson.AppendKey(b, "network"), s.Network, appendNetwork)
	b = rawjson.AppendIntMember(b, "pid", s.Pid)
	b = rawjson.AppendIntMember(b, "processes", s.Processes)
	b = rawjson.AppendIntMember(append(rawjson.AppendKey(b, "cpu"), '{'), "usage", s.CPU.Usage)
	return append(b, '}', '}')
}

func appendDisk(b []byte, d api.InstanceStateDisk) []byte {
	return append(rawjson.AppendIntMember(append(b, '{'), "usage", d.Usage), '}')
}

func appendMemory(b []byte, m *api.InstanceStateMemory) []byte {
	b = rawjson.AppendIntMember(append(b, '{'), "usage", m.Usage)
	b = rawjson.AppendIntMember(b, "usage_peak", m.UsagePeak)
	b = rawjson.AppendIntMember(b, "swap_usage", m.SwapUsage)
	b = rawjson.AppendIntMember(b, "swap_usage_peak", m.SwapUsagePeak)
	return append(b, '}')
}

func appendNetwork(b []byte, n api.InstanceStateNetwork) []byte {
	b = rawjson.AppendList(rawjson.AppendKey(append(b, '{'), "addresses"), n.Addresses, appendAddress)
	b = appendCounters(rawjson.AppendKey(b, "counters"), &n.Counters)
	b = rawjson.AppendStringMember(b, "hwaddr", n.Hwaddr)
	b = rawjson.AppendStringMember(b, "host_name", n.HostName)
	b = rawjson.AppendIntMember(b, "mtu", n.Mtu)
	b = rawjson.AppendStringMember(b, "state", n.State)
	b = rawjson.AppendStringMember(b, "type", n.Type)
	return append(b, '}')
}

func appendAddress(b []byte, a api.InstanceStateNetworkAddress) []byte {
	b = rawjson.AppendStringMember(append(b, '{'), "family", a.Family)
	b = rawjson.AppendStringMember(b, "address", a.Address)
	b = rawjson.AppendStringMember(b, "netmask", a.Netmask)
	b = rawjson.AppendStringMember(b, "scope", a.Scope)
	return append(b, '}')
}

func appendCounters(b []byte, c *api.NetworkCounters) []byte {
	b = rawjson.AppendIntMember(append(b, '{'), "bytes_received", c.BytesReceived)
	b = rawjson.AppendIntMember(b, "bytes_sent", c.BytesSent)
	b = rawjson.AppendIntMember(b, "packets_received", c.PacketsReceived)
	b = rawjson.AppendIntMember(b, "packets_sent", c.PacketsSent)
	b = rawjson.AppendIntMember(b, "errors_received", c.ErrorsReceived)
	b = rawjson.AppendIntMember(b, "errors_sent", c.ErrorsSent)
	b = rawjson.AppendIntMember(b, "packets_dropped_outbound", c.PacketsDroppedOutbound)
	b = rawjson.AppendIntMember(b, "packets_dropped_inbound", c.PacketsDroppedInbound)
	return append(b, '}')
}
