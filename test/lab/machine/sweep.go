package machine

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Sweep ends the machines of runs that were killed: nobody holds their lock, and they were not to be kept. It returns their names.
func Sweep(c Config) ([]string, error) {
	unlock, err := c.alone()
	if err != nil {
		return nil, err
	}
	defer unlock()
	entries, err := os.ReadDir(c.runDir())
	if err != nil {
		return nil, err
	}
	var names []string
	var errs []error
	for _, e := range entries {
		m := &Machine{Config: c, Name: e.Name()}
		swept, err := m.sweep()
		errs = append(errs, err)
		if swept {
			names = append(names, m.Name)
		}
	}
	return names, errors.Join(errs...)
}

func (m *Machine) sweep() (bool, error) {
	lock, err := os.Open(m.path("lock"))
	if os.IsNotExist(err) {
		return false, nil // it is just being removed
	} else if err != nil {
		return false, err
	}
	if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return false, lock.Close()
	}
	m.lock = lock
	qemu, err := findProcess(m.path("pid"), m.path(""))
	if _, statErr := os.Stat(m.path(keep)); statErr == nil && err == nil {
		return false, lock.Close()
	}
	if err == nil {
		m.qemu = qemu
	} else if !errors.Is(err, errNoProcess) {
		return false, errors.Join(err, lock.Close())
	}
	return true, m.Stop()
}
