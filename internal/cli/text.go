package cli

import "github.com/berthd/berth/internal/i18n"

// T returns a text in the user's language. Everything a user reads goes through it.
func T(text string) string { return i18n.T(text) }
