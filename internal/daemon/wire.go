package daemon

// wire makes the services of the resources and gives each what it needs of the others. It runs before the store's tables
// are filled: constructors must not read.
func (d *Daemon) wire() error {
	return nil
}
