package instance

import (
	"math/rand/v2"
	"regexp"
	"strings"

	"github.com/berthd/berth/api"
)

var nameCharacters = regexp.MustCompile(`^[-a-zA-Z0-9]+$`)

// checkName holds a name to what a DNS label, a host name and a file name allow.
func checkName(name string) error {
	bad := func(why string) error { return api.BadRequest("Invalid instance name: %s", why) }
	switch {
	case len(name) < 1 || len(name) > 63:
		return bad("Name must be 1-63 characters long")
	case !nameCharacters.MatchString(name):
		return bad("Name can only contain alphanumeric and hyphen characters")
	case name[0] == '-':
		return bad(`Name must not start with "-" character`)
	case name[0] >= '0' && name[0] <= '9':
		return bad("Name must not start with a number")
	case name[len(name)-1] == '-':
		return bad(`Name must not end with "-" character`)
	}
	return nil
}

// checkSnapshotName holds a snapshot's name to what one path element can be. LXD takes "." and "..": we do not.
func checkSnapshotName(name string) error {
	switch {
	case name == "":
		return api.BadRequest("Invalid snapshot name: Cannot be empty")
	case strings.Contains(name, "/"):
		return api.BadRequest(`Invalid snapshot name: Cannot contain "/"`)
	case strings.ContainsAny(name, " \t\n\r\x00"):
		return api.BadRequest("Invalid instance snapshot name: Cannot contain space or / characters")
	case name == "." || name == "..":
		return api.BadRequest("Invalid snapshot name: %q", name)
	case len(name) > 63*3:
		return api.BadRequest("Invalid snapshot name: longer than %d characters", 63*3)
	}
	return nil
}

var (
	adjectives = strings.Fields(`able amber ample apt bold brave bright brisk calm candid careful cheerful clear clever
		cosy crisp curious daring deep eager early easy even fair faithful fast fine firm fond frank free fresh gentle
		glad golden good grand happy hardy hearty honest humble keen kind lasting light lively loyal lucky mellow merry
		mild modest neat nimble noble open patient plain polite proud quick quiet ready rested safe sharp silver
		simple smart snug solid sound spry stable steady still strong sunny sure swift tame tidy trim true trusty upbeat
		vivid warm wise witty young`)
	animals = strings.Fields(`albatross auk avocet badger bass bear beaver bittern brant bream carp char clam cod
		coot cormorant crab crane crow curlew dab dipper dolphin duck dunlin eagle eel eider egret elk falcon fulmar gannet
		godwit goose grebe gull haddock hake halibut hare heron herring ibis jay kestrel kingfisher kite knot lapwing
		limpet ling lobster loon lynx mackerel marlin marten merlin minnow mullet murre mussel newt octopus oriole osprey
		otter owl oyster pelican penguin perch petrel pike plaice plover porpoise prawn puffin rail ray redshank
		robin salmon sandpiper seal shag shrimp skate skua smelt snipe sole sprat squid stork sturgeon swan swift teal tench
		tern trout tuna turnstone turtle walrus whale whiting wigeon wren`)
)

// newName makes up a name that is not taken.
func newName(taken func(string) bool) string {
	for {
		name := adjectives[rand.IntN(len(adjectives))] + "-" + animals[rand.IntN(len(animals))]
		if !taken(name) {
			return name
		}
	}
}
