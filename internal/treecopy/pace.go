package treecopy

import (
	"context"

	"golang.org/x/time/rate"
)

type paceKey struct{}

// burst is how much is copied at once under a bound, in bytes.
const burst = 1 << 20

// Paced has the contents of files that are copied with a context come at no more than a rate, in bytes a second. What is shared
// instead of copied costs nothing.
func Paced(ctx context.Context, bytesPerSecond int64) context.Context {
	return context.WithValue(ctx, paceKey{}, rate.NewLimiter(rate.Limit(bytesPerSecond), burst))
}

// pace is the bound that Paced has set; nil: none.
func pace(ctx context.Context) *rate.Limiter {
	l, _ := ctx.Value(paceKey{}).(*rate.Limiter)
	return l
}

// wait waits until n bytes may be copied, no more than burst, and tells if the context has ended.
func wait(ctx context.Context, bound *rate.Limiter, n int64) error {
	if bound == nil {
		return ctx.Err()
	}
	return bound.WaitN(ctx, int(n))
}
