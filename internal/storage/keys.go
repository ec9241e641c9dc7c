package storage

import (
	"fmt"
	"strings"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/expiry"
)

// volumeKeys are the keys of a volume; a pool may have each as a default, with "volume." in front.
func volumeKeys() []config.Key {
	return []config.Key{
		{Name: "size", Type: config.Size, Live: true, Doc: "Largest size, in bytes or with a unit"},
		{Name: "security.shifted", Type: config.Bool, Doc: "Let instances with different ID maps use the volume at once"},
		{Name: "security.unmapped", Type: config.Bool, Doc: "Keep the owners of files as they are on disk, without an ID map"},
		{Name: "snapshots.expiry", Validate: isExpiry, Live: true, Doc: "Age at which snapshots are deleted, such as: 1d 2w"},
		{Name: "snapshots.schedule", Live: true, Unsupported: "it takes snapshots of volumes only when asked to", Doc: "When snapshots are taken: five fields as in crontab(5), or @daily and the like"},
		{Name: "snapshots.pattern", Live: true, Doc: "Pattern of the names of snapshots that are given none"},
	}
}

var poolKeys = func() *config.Table {
	keys := []config.Key{
		{Name: "source", Doc: "Folder that keeps the pool; unset: one in the daemon's own"},
		{Name: "volatile.initial_source", Doc: "Source as it was given when the pool was made"},
		{Name: "rsync.bwlimit", Validate: isRate, Live: true, Doc: "Bound of the rate at which contents are copied, in KiB/s or with a unit"},
		{Name: "rsync.compression", Type: config.Bool, Default: "true", Live: true, Unsupported: "it does not move volumes between servers yet", Doc: "Compress what is sent to another server"},
		{Name: "user.*", Live: true, Doc: "Free for users; has no effect"},
	}
	for _, k := range volumeKeys() {
		k.Name = "volume." + k.Name
		keys = append(keys, k)
	}
	return config.NewTable(config.StorageWords, keys...)
}()

var volumeTable = config.NewTable(config.StorageWords, append(volumeKeys(),
	config.Key{Name: "volatile.idmap.last", Doc: "ID map that the files have now"},
	config.Key{Name: "volatile.idmap.next", Doc: "ID map that the files are to have"},
	config.Key{Name: "user.*", Live: true, Doc: "Free for users; has no effect"})...)

// volumeWords names the volume as LXD's errors do: "default_data".
func volumeWords(v VolumeID) config.Words {
	name := v.diskName()
	return config.Words{
		Unknown: func(key, _ string) string { return fmt.Sprintf("Invalid option for volume %q option %q", name, key) },
		Invalid: func(_ config.Key, key, _ string, cause error) error {
			return fmt.Errorf("Invalid value for volume %q option %q: %w", name, key, cause)
		},
	}
}

// withDefaults adds to a new volume's configuration what the pool sets as default.
func withDefaults(pool, volume map[string]string) map[string]string {
	all := map[string]string{}
	for key, value := range pool {
		if name, ok := strings.CutPrefix(key, "volume."); ok {
			all[name] = value
		}
	}
	for key, value := range volume {
		all[key] = value
	}
	return config.WithoutEmpty(all)
}

// merge is what PATCH does: given keys replace, others stay.
func merge(old, given map[string]string) map[string]string {
	all := map[string]string{}
	for k, v := range old {
		all[k] = v
	}
	for k, v := range given {
		all[k] = v
	}
	return all
}

// isExpiry accepts what snapshots.expiry may be.
func isExpiry(value string) error {
	_, err := expiry.Parse(value)
	return err
}
