// Package version says which Berth this is.
package version

// Version is set by the linker from the file VERSION.
var Version = "0.0.0-dev"
