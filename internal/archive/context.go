package archive

import (
	"context"
	"io"
)

// ContextReader reads R until Ctx ends, and then fails with the error of Ctx.
type ContextReader struct {
	Ctx context.Context
	R   io.Reader
}

// Read implements io.Reader.
func (c ContextReader) Read(p []byte) (int, error) {
	if err := c.Ctx.Err(); err != nil {
		return 0, err
	}
	return c.R.Read(p)
}
