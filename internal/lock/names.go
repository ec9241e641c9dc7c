package lock

// The names of objects whose locks more than one package takes.

// ForProject is a project: that there is one, and what it has of its own.
func ForProject(name string) Object { return Of(Project, name) }

// ForProfile is a profile of a project.
func ForProfile(project, name string) Object { return Of(Profile, project, name) }

// ForInstance is an instance: its record, and whether and how it runs.
func ForInstance(project, name string) Object { return Of(Instance, project, name) }

// ForPool is a storage pool. Whoever makes something that names a pool holds it, shared, until that is kept.
func ForPool(name string) Object { return Of(Pool, name) }

// ForNetwork is a network, held like a pool.
func ForNetwork(project, name string) Object { return Of(Network, project, name) }

// ForInterface is what bears a name on the host: an interface and its folder. Networks of two projects may want one.
func ForInterface(name string) Object { return Of(Interface, name) }

// ForImage is an image by its fingerprint, in whatever projects: its files and records.
func ForImage(fingerprint string) Object { return Of(Image, fingerprint) }

// ForIDs is the ranges of IDs of this host that isolated instances are given.
func ForIDs() Object { return Of(IDs, "host") }
