package access

import (
	"fmt"
	"net/url"
	"strings"
)

const defaultProject = "default"

// collections are the kinds of objects that a project holds, by the collections that their URLs are in.
var collections = map[string]Entity{
	"instances": Instance, "containers": Instance, "virtual-machines": Instance, "images": Image, "profiles": Profile, "networks": Network,
}

// outside are the kinds that are of no project, likewise; "auth/" stands before some.
var outside = map[string]Entity{
	"projects": Project, "storage-pools": StoragePool, "certificates": Certificate,
	"auth/groups": Group, "auth/identity-provider-groups": IdentityProviderGroup,
}

// ParseURL finds the object that a URL of the API names: the instance for /1.0/instances/c1/snapshots/s0?project=blue.
func ParseURL(raw string) (Object, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return Object{}, err
	}
	rest, ok := strings.CutPrefix(u.EscapedPath(), "/1.0")
	if !ok || rest != "" && rest[0] != '/' || u.Host != "" {
		return Object{}, fmt.Errorf("%q is no URL of the API", raw)
	}
	rest = strings.Trim(rest, "/")
	if rest == "" {
		return Object{Entity: Server}, nil
	}
	path, err := unescape(rest)
	if err != nil {
		return Object{}, err
	}
	o, ok := objectAt(path)
	if !ok {
		return Object{}, fmt.Errorf("%q names no object", raw)
	}
	if plurals[o.Entity] != "" {
		if o.Project = u.Query().Get("project"); o.Project == "" {
			o.Project = defaultProject
		}
	}
	return o, nil
}

func unescape(path string) ([]string, error) {
	elements := strings.Split(path, "/")
	for n, element := range elements {
		plain, err := url.PathUnescape(element)
		if err != nil {
			return nil, err
		}
		if plain == "" {
			return nil, fmt.Errorf("%q has an empty element", path)
		}
		elements[n] = plain
	}
	return elements, nil
}

// objectAt is the object at a path, without its project.
func objectAt(path []string) (Object, bool) {
	if path[0] == "auth" && len(path) > 1 {
		if path[1] == "identities" && len(path) > 3 {
			return Object{Entity: Identity, Name: path[2] + "/" + path[3]}, true
		}
		path = append([]string{"auth/" + path[1]}, path[2:]...)
	}
	switch {
	case len(path) < 2:
		return Object{}, false
	case path[0] == "storage-pools" && len(path) > 4 && path[2] == "volumes":
		return Object{Entity: StorageVolume, Name: VolumeName(path[1], path[3], path[4])}, true
	case path[0] == "images" && path[1] == "aliases":
		if len(path) < 3 {
			return Object{}, false
		}
		return Object{Entity: ImageAlias, Name: strings.Join(path[2:], "/")}, true
	}
	kind, ok := collections[path[0]]
	if !ok {
		kind, ok = outside[path[0]]
	}
	return Object{Entity: kind, Name: path[1]}, ok
}

// URL is where the API shows an object, always with its project.
func (o Object) URL() string {
	path := "/1.0"
	switch o.Entity {
	case Server:
		return path
	case Identity:
		method, id, _ := strings.Cut(o.Name, "/")
		return path + "/auth/identities/" + url.PathEscape(method) + "/" + url.PathEscape(id)
	case StorageVolume:
		parts := strings.SplitN(o.Name, "/", 3)
		if len(parts) == 3 {
			path += "/storage-pools/" + url.PathEscape(parts[0]) + "/volumes/" + url.PathEscape(parts[1]) + "/" + url.PathEscape(parts[2])
		}
	case ImageAlias:
		path += "/images/aliases/" + url.PathEscape(o.Name)
	default:
		path += "/" + collectionOf(o.Entity) + "/" + url.PathEscape(o.Name)
	}
	if plurals[o.Entity] != "" {
		path += "?project=" + url.QueryEscape(o.Project)
	}
	return path
}

func collectionOf(kind Entity) string {
	if kind == Instance {
		return "instances"
	}
	for _, kinds := range []map[string]Entity{collections, outside} {
		for name, k := range kinds {
			if k == kind {
				return name
			}
		}
	}
	return string(kind)
}
