// Package i18n is the one door for text that users read: translations can be put behind it.
package i18n

// T returns the text in the user's language. Without a catalogue that is the text itself.
func T(text string) string { return text }
