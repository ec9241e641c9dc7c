package project

// Reservation counts images that come into a project bit by bit, before it is known how much they will be, as if they had been admitted. The zero value
// counts nothing and refuses nothing.
type Reservation struct {
	service      *Service
	action, name string
	counted      int64
	number       int // among what is pending in the project; 0 as long as nothing is counted
}

// Reserve begins to count what comes into a project. It ends with Admit or Release. action as for Admit.
func (s *Service) Reserve(action, name string) *Reservation {
	return &Reservation{service: s, action: action, name: name}
}

// Grow has it stand for so many bytes of images, if the project may have them. Errors are those of Service.Admit, and leave it as it was.
func (r *Reservation) Grow(images int64) error {
	if r.service == nil {
		return nil
	}
	a := &r.service.admissions
	a.Lock()
	defer a.Unlock()
	was := r.counted
	r.drop()
	err := r.service.mayHave(r.action, r.name, Contents{Images: images})
	if err != nil {
		images = was
	}
	r.number, r.counted = a.note(r.name, Contents{Images: images}), images
	return err
}

// Admit is Service.Admit for all that has come, which counts by itself from then on, whatever becomes of it.
func (r *Reservation) Admit(action, name string, change Contents) (release func(), err error) {
	if r.service == nil {
		return func() {}, nil
	}
	r.service.admissions.Lock()
	defer r.service.admissions.Unlock()
	r.drop()
	return r.service.admitNow(action, name, change)
}

// Release ends it. A second call does nothing.
func (r *Reservation) Release() {
	if r.service == nil {
		return
	}
	r.service.admissions.Lock()
	defer r.service.admissions.Unlock()
	r.drop()
}

// drop counts nothing any more. The caller holds the admissions.
func (r *Reservation) drop() {
	if r.number != 0 {
		r.service.admissions.forget(r.name, r.number)
	}
	r.number, r.counted = 0, 0
}
