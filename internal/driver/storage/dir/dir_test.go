package dir

import (
	"testing"

	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/driver/storage/drivertest"
)

func TestDriver(t *testing.T) {
	drivertest.Run(t, func(c storagedriver.Config) storagedriver.Driver { return New(c) })
}

func TestDriverWithSource(t *testing.T) {
	source := t.TempDir()
	drivertest.Run(t, func(c storagedriver.Config) storagedriver.Driver {
		c.Options = map[string]string{"source": source}
		return New(c)
	})
}
