package config

import "sort"

// Changed lists the keys whose values differ between two configurations, sorted. Unset and empty are the same.
func Changed(before, after map[string]string) []string {
	var names []string
	for name, v := range after {
		if before[name] != v {
			names = append(names, name)
		}
	}
	for name, v := range before {
		if _, ok := after[name]; !ok && v != "" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// WithoutEmpty is a copy of a configuration without its empty values, which unset keys. It is never nil.
func WithoutEmpty(config map[string]string) map[string]string {
	set := make(map[string]string, len(config))
	for name, value := range config {
		if value != "" {
			set[name] = value
		}
	}
	return set
}
