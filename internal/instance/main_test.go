package instance

import (
	"os"
	"testing"

	"github.com/berthd/berth/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }
