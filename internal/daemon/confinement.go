package daemon

import (
	"github.com/berthd/berth/internal/apparmor"
	"github.com/berthd/berth/internal/hostinfo"
	"github.com/berthd/berth/internal/selinux"
)

// unconfined returns a warning if no security module confines instances: neither AppArmor nor, on a kernel with that instead,
// SELinux.
func (d *Daemon) unconfined() []hostinfo.Warning {
	message := d.apparmor.Warning()
	if state, _ := d.apparmor.State(); message == "" || state == apparmor.Off && selinux.Enabled() {
		return nil
	}
	return []hostinfo.Warning{{Type: "AppArmor support has been disabled", Message: message}}
}
