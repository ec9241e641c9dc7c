package instance

import "golang.org/x/sync/errgroup"

// atOnce bounds how many instances are looked at, or acted upon, side by side.
const atOnce = 8

// sideBySide calls do for each of a list, with its place in the list, for atOnce of them at a time, and returns when all calls have.
func sideBySide[T any](list []T, do func(n int, one T)) {
	var calls errgroup.Group
	calls.SetLimit(atOnce)
	for n, one := range list {
		calls.Go(func() error {
			do(n, one)
			return nil
		})
	}
	_ = calls.Wait() // none fails
}
