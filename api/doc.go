// Package api holds the wire types of the /1.0 REST API, its error kinds and the list of API extensions.
//
// The shapes are those of LXD's published REST API description (doc/rest-api.yaml of LXD 5.0, and
// `api-extensions.md` for what each extension adds); nothing in here depends on another package of Berth, so
// that clients can import it alone. Times are RFC 3339 in JSON; a zero time stands for "never". Sizes are
// bytes and durations nanoseconds unless a field says otherwise.
package api
