package api

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// AppendJSON appends what json.Marshal makes of s, without reflection: a list of all instances with their state holds
// one of each.
func (s *InstanceState) AppendJSON(b []byte) []byte {
	b = AppendString(append(b, `{"status":`...), s.Status)
	b = appendInt(append(b, `,"status_code":`...), int64(s.StatusCode))
	b = appendObject(append(b, `,"disk":`...), s.Disk, func(b []byte, d InstanceStateDisk) []byte {
		return append(appendInt(append(b, `{"usage":`...), d.Usage), '}')
	})
	b = appendInt(append(b, `,"memory":{"usage":`...), s.Memory.Usage)
	b = appendInt(append(b, `,"usage_peak":`...), s.Memory.UsagePeak)
	b = appendInt(append(b, `,"swap_usage":`...), s.Memory.SwapUsage)
	b = appendInt(append(b, `,"swap_usage_peak":`...), s.Memory.SwapUsagePeak)
	b = appendObject(append(b, `},"network":`...), s.Network, appendNetwork)
	b = appendInt(append(b, `,"pid":`...), s.Pid)
	b = appendInt(append(b, `,"processes":`...), s.Processes)
	b = appendInt(append(b, `,"cpu":{"usage":`...), s.CPU.Usage)
	return append(b, `}}`...)
}

func appendNetwork(b []byte, n InstanceStateNetwork) []byte {
	b = append(b, `{"addresses":`...)
	if n.Addresses == nil {
		b = append(b, `null`...)
	} else {
		b = append(b, '[')
		for i := range n.Addresses {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendAddress(b, &n.Addresses[i])
		}
		b = append(b, ']')
	}
	b = appendCounters(append(b, `,"counters":`...), &n.Counters)
	b = AppendString(append(b, `,"hwaddr":`...), n.Hwaddr)
	b = AppendString(append(b, `,"host_name":`...), n.HostName)
	b = appendInt(append(b, `,"mtu":`...), int64(n.Mtu))
	b = AppendString(append(b, `,"state":`...), n.State)
	b = AppendString(append(b, `,"type":`...), n.Type)
	return append(b, '}')
}

func appendAddress(b []byte, a *InstanceStateNetworkAddress) []byte {
	b = AppendString(append(b, `{"family":`...), a.Family)
	b = AppendString(append(b, `,"address":`...), a.Address)
	b = AppendString(append(b, `,"netmask":`...), a.Netmask)
	b = AppendString(append(b, `,"scope":`...), a.Scope)
	return append(b, '}')
}

func appendCounters(b []byte, c *NetworkCounters) []byte {
	b = appendInt(append(b, `{"bytes_received":`...), c.BytesReceived)
	b = appendInt(append(b, `,"bytes_sent":`...), c.BytesSent)
	b = appendInt(append(b, `,"packets_received":`...), c.PacketsReceived)
	b = appendInt(append(b, `,"packets_sent":`...), c.PacketsSent)
	b = appendInt(append(b, `,"errors_received":`...), c.ErrorsReceived)
	b = appendInt(append(b, `,"errors_sent":`...), c.ErrorsSent)
	b = appendInt(append(b, `,"packets_dropped_outbound":`...), c.PacketsDroppedOutbound)
	b = appendInt(append(b, `,"packets_dropped_inbound":`...), c.PacketsDroppedInbound)
	return append(b, '}')
}

func appendInt(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }

// appendObject appends a map by key, as json.Marshal does.
func appendObject[V any](b []byte, m map[string]V, appendValue func([]byte, V) []byte) []byte {
	if m == nil {
		return append(b, `null`...)
	}
	var few [8]string
	keys := slices.AppendSeq(few[:0], maps.Keys(m))
	slices.Sort(keys)
	b = append(b, '{')
	for i, key := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendValue(append(AppendString(b, key), ':'), m[key])
	}
	return append(b, '}')
}

// AppendString appends a string with its quotes. What needs care is left to json.Marshal.
func AppendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			careful, _ := json.Marshal(s) // a string always has an encoding
			return append(b, careful...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
