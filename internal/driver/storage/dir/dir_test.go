package dir

import (
	"os"
	"path/filepath"
	"testing"

	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/driver/storage/drivertest"
	"github.com/berthd/berth/internal/loopfs"
)

func factory(c storagedriver.Config) storagedriver.Driver { return New(c) }

func TestMain(m *testing.M) { drivertest.Main(m, factory) }

func TestDriver(t *testing.T) {
	loopfs.Each(t, func(t *testing.T, _, path string) { drivertest.Run(t, path, factory) })
}

func TestDriverKilled(t *testing.T) {
	loopfs.Each(t, func(t *testing.T, _, path string) { drivertest.RunKills(t, path, "storage.dir.", factory) })
}

func TestDriverWithSource(t *testing.T) {
	loopfs.Each(t, func(t *testing.T, _, path string) {
		source := filepath.Join(path, "source")
		if err := os.Mkdir(source, 0o700); err != nil {
			t.Fatal(err)
		}
		drivertest.Run(t, t.TempDir(), func(c storagedriver.Config) storagedriver.Driver {
			c.Options = map[string]string{"source": source}
			return New(c)
		})
	})
}
