package instance_test

import (
	"github.com/berthd/berth/internal/driver/lxc"
	"github.com/berthd/berth/internal/image"
	"github.com/berthd/berth/internal/instance"
	"github.com/berthd/berth/internal/profile"
	"github.com/berthd/berth/internal/storage"
)

var (
	_ instance.Volumes  = (*storage.Service)(nil)
	_ instance.Images   = (*image.Service)(nil)
	_ instance.Runtime  = (*lxc.Driver)(nil)
	_ instance.Profiles = (*profile.Service)(nil)

	_ profile.Instances = (*instance.Service)(nil)
)
