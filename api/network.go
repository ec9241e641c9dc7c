package api

// NetworkPut is the part of a network that PUT and PATCH change.
type NetworkPut struct {
	Config      map[string]string `json:"config" yaml:"config"`
	Description string            `json:"description" yaml:"description"`
}

// NetworkPost renames a network.
type NetworkPost struct {
	Name string `json:"name" yaml:"name"`
}

// NetworksPost asks for a new network.
type NetworksPost struct {
	NetworkPut `yaml:",inline"`
	Name       string `json:"name" yaml:"name"`
	Type       string `json:"type" yaml:"type"`
}

// Network is what GET /1.0/networks/<name> shows.
type Network struct {
	NetworkPut `yaml:",inline"`
	Name       string   `json:"name" yaml:"name"`
	Type       string   `json:"type" yaml:"type"` // bridge, physical, loopback, unknown, …
	UsedBy     []string `json:"used_by" yaml:"used_by"`
	Managed    bool     `json:"managed" yaml:"managed"`
	Status     string   `json:"status" yaml:"status"` // Created, Pending, Errored, Unavailable, or empty
	Locations  []string `json:"locations" yaml:"locations"`
}

// NetworkLease is one DHCP lease or static address.
type NetworkLease struct {
	Hostname string `json:"hostname" yaml:"hostname"`
	Hwaddr   string `json:"hwaddr" yaml:"hwaddr"`
	Address  string `json:"address" yaml:"address"`
	Type     string `json:"type" yaml:"type"` // static, dynamic or gateway
	Location string `json:"location" yaml:"location"`
}

// NetworkState is the live state of an interface of the host.
type NetworkState struct {
	Addresses []NetworkStateAddress `json:"addresses" yaml:"addresses"`
	Counters  NetworkStateCounters  `json:"counters" yaml:"counters"`
	Hwaddr    string                `json:"hwaddr" yaml:"hwaddr"`
	Mtu       int                   `json:"mtu" yaml:"mtu"`
	State     string                `json:"state" yaml:"state"`
	Type      string                `json:"type" yaml:"type"`
	Bond      *NetworkStateBond     `json:"bond" yaml:"bond"`
	Bridge    *NetworkStateBridge   `json:"bridge" yaml:"bridge"`
	VLAN      *NetworkStateVLAN     `json:"vlan" yaml:"vlan"`
	OVN       *NetworkStateOVN      `json:"ovn" yaml:"ovn"`
}

// NetworkStateAddress is one address of an interface of the host.
type NetworkStateAddress struct {
	Family  string `json:"family" yaml:"family"`
	Address string `json:"address" yaml:"address"`
	Netmask string `json:"netmask" yaml:"netmask"`
	Scope   string `json:"scope" yaml:"scope"`
}

// NetworkStateCounters are the traffic counters of an interface of the host.
type NetworkStateCounters struct {
	BytesReceived   int64 `json:"bytes_received" yaml:"bytes_received"`
	BytesSent       int64 `json:"bytes_sent" yaml:"bytes_sent"`
	PacketsReceived int64 `json:"packets_received" yaml:"packets_received"`
	PacketsSent     int64 `json:"packets_sent" yaml:"packets_sent"`
}

// NetworkCounters are the traffic counters of an instance's interface.
type NetworkCounters struct {
	BytesReceived          int64 `json:"bytes_received" yaml:"bytes_received"`
	BytesSent              int64 `json:"bytes_sent" yaml:"bytes_sent"`
	PacketsReceived        int64 `json:"packets_received" yaml:"packets_received"`
	PacketsSent            int64 `json:"packets_sent" yaml:"packets_sent"`
	ErrorsReceived         int64 `json:"errors_received" yaml:"errors_received"`
	ErrorsSent             int64 `json:"errors_sent" yaml:"errors_sent"`
	PacketsDroppedOutbound int64 `json:"packets_dropped_outbound" yaml:"packets_dropped_outbound"`
	PacketsDroppedInbound  int64 `json:"packets_dropped_inbound" yaml:"packets_dropped_inbound"`
}

// NetworkStateBond describes a bond.
type NetworkStateBond struct {
	Mode           string   `json:"mode" yaml:"mode"`
	TransmitPolicy string   `json:"transmit_policy" yaml:"transmit_policy"`
	UpDelay        uint64   `json:"up_delay" yaml:"up_delay"`           // milliseconds
	DownDelay      uint64   `json:"down_delay" yaml:"down_delay"`       // milliseconds
	MIIFrequency   uint64   `json:"mii_frequency" yaml:"mii_frequency"` // milliseconds
	MIIState       string   `json:"mii_state" yaml:"mii_state"`
	LowerDevices   []string `json:"lower_devices" yaml:"lower_devices"`
}

// NetworkStateBridge describes a bridge.
type NetworkStateBridge struct {
	ID            string   `json:"id" yaml:"id"`
	STP           bool     `json:"stp" yaml:"stp"`
	ForwardDelay  uint64   `json:"forward_delay" yaml:"forward_delay"` // centiseconds
	VLANDefault   uint64   `json:"vlan_default" yaml:"vlan_default"`
	VLANFiltering bool     `json:"vlan_filtering" yaml:"vlan_filtering"`
	UpperDevices  []string `json:"upper_devices" yaml:"upper_devices"`
}

// NetworkStateVLAN describes a VLAN interface.
type NetworkStateVLAN struct {
	LowerDevice string `json:"lower_device" yaml:"lower_device"`
	VID         uint64 `json:"vid" yaml:"vid"`
}

// NetworkStateOVN describes an OVN network.
type NetworkStateOVN struct {
	Chassis string `json:"chassis" yaml:"chassis"`
}
