package daemon

import (
	"github.com/berthd/berth/internal/apparmor"
	"github.com/berthd/berth/internal/hostinfo"
	"github.com/berthd/berth/internal/selinux"
)

// unconfined is what an administrator should know where instances are not confined by a security module. SELinux takes AppArmor's
// place where the kernel has that instead.
func (d *Daemon) unconfined() []hostinfo.Warning {
	message := d.apparmor.Warning()
	if state, _ := d.apparmor.State(); message == "" || state == apparmor.Off && selinux.Enabled() {
		return nil
	}
	return []hostinfo.Warning{{Type: "AppArmor support has been disabled", Message: message}}
}
