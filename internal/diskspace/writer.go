package diskspace

import "io"

// Writer writes to W what there is room for.
type Writer struct {
	W    io.Writer
	Room *Room
}

// Write implements io.Writer.
func (w Writer) Write(p []byte) (int, error) {
	if err := w.Room.Take(int64(len(p))); err != nil {
		return 0, err
	}
	return w.W.Write(p)
}
