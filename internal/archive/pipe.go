package archive

import (
	"io"
	"sync"
)

const (
	pipeBuffer = 256 << 10
	pipeAhead  = 4
)

type chunk struct {
	data []byte
	err  error
}

// pump reads a source in its own goroutine, a few buffers ahead.
type pump struct {
	full chan chunk
	free chan []byte
	quit chan struct{}
	once sync.Once
	done chan struct{}
}

// newPipe starts reading z ahead. The reader it returns is for one goroutine; stop ends the pump and waits for it.
func newPipe(z io.Reader) (io.Reader, *pump) {
	p := &pump{full: make(chan chunk, pipeAhead), free: make(chan []byte, pipeAhead), quit: make(chan struct{}), done: make(chan struct{})}
	for range pipeAhead {
		p.free <- make([]byte, pipeBuffer)
	}
	go p.run(z)
	return &pumpReader{p: p}, p
}

func (p *pump) run(z io.Reader) {
	defer close(p.done)
	for {
		var buf []byte
		select {
		case <-p.quit:
			return
		case buf = <-p.free:
		}
		n, err := fill(z, buf[:pipeBuffer])
		select {
		case <-p.quit:
			return
		case p.full <- chunk{buf[:n], err}:
		}
		if err != nil {
			return
		}
	}
}

// fill reads until buf is full or the source says anything but nil; unlike io.ReadFull it keeps the source's own error.
func fill(z io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = z.Read(buf[n:])
		n += m
	}
	return n, err
}

func (p *pump) stop() {
	p.once.Do(func() { close(p.quit) })
	<-p.done
}

type pumpReader struct {
	p     *pump
	whole []byte
	rest  []byte
	err   error
}

func (r *pumpReader) Read(b []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.whole != nil {
			r.p.free <- r.whole
			r.whole = nil
		}
		if r.err != nil {
			return 0, r.err
		}
		c := <-r.p.full
		r.whole, r.rest, r.err = c.data, c.data, c.err
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
