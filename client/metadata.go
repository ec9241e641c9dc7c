package client

// ConfigKey is what is said of a configuration key.
type ConfigKey struct {
	Type    string `json:"type"` // string, bool, integer, size or duration
	Default string `json:"defaultdesc"`
	Doc     string `json:"shortdesc"`
	// Values are all there are, where the server has counted them up.
	Values []string `json:"values"`
}

// ConfigKeys fetches the configuration keys of each kind of entity: instance, server, network-bridge, storage-dir, storage-volume, and
// device-TYPE (device-disk) or device-TYPE-KIND (device-nic-bridged). A name may have a "*" for any characters. Old servers have no such list.
func (c *Client) ConfigKeys() (map[string]map[string]ConfigKey, error) {
	type group struct {
		Keys []map[string]ConfigKey `json:"keys"`
	}
	answer, _, err := get[struct {
		Configs map[string]map[string]group `json:"configs"`
	}](c, pathOf("metadata", "configuration"))
	if err != nil {
		return nil, err
	}
	out := map[string]map[string]ConfigKey{}
	for entity, groups := range answer.Configs {
		out[entity] = map[string]ConfigKey{}
		for _, g := range groups {
			for _, keys := range g.Keys {
				for name, k := range keys {
					out[entity][name] = k
				}
			}
		}
	}
	return out, nil
}
