package filter

import (
	"testing"
	"time"

	"github.com/berthd/berth/api"
)

var web = &api.Instance{
	InstancePut: api.InstancePut{
		Architecture: "x86_64",
		Config:       map[string]string{"user.os": "Hello World", "limits.cpu": "2"},
		Devices:      map[string]map[string]string{"eth0.1": {"type": "nic"}, "root": {"type": "disk"}},
		Profiles:     []string{"default", "big"},
	},
	Name:       "h1a",
	Status:     "Stopped",
	StatusCode: 102,
	Type:       "container",
	CreatedAt:  time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC),
}

// The cases and their results are those of LXD 5.0.2, but for the ones under "more".
func TestMatch(t *testing.T) {
	for text, want := range map[string]bool{
		"":                                       true,
		"  ":                                     true,
		"name eq h1a":                            true,
		"name eq H1A":                            true,
		"name EQ h1a":                            true,
		"Name eq h1a":                            false,
		"name eq h1":                             false,
		"name eq h1.":                            true,
		"name eq ^h1.*":                          true,
		"name eq h1(a|b)":                        true,
		"name eq h1.* and type eq ^c":            true,
		"status eq pped$":                        true,
		"name eq (^h)":                           true,
		"name eq [^x]":                           true,
		"name eq h|x":                            true,
		"name ne h1.*":                           false,
		"name eq x|h1a":                          true,
		"name eq [":                              false,
		"name eq h1a or name eq h1b":             true,
		"name eq h1a and name eq h1b":            false,
		"name eq x and name eq h1a or name eq h": false,
		"name eq h1a or name eq x and name eq y": false,
		"not name eq h1a":                        false,
		"not name ne h1a":                        true,
		"name eq h1a and not name eq h1b":        true,
		`config.user.os eq "hello world"`:        true,
		"config.user.os eq hello":                false,
		"config.limits.cpu eq 2":                 true,
		"config.foo eq x":                        false,
		"config.foo ne x":                        true,
		"config eq x":                            false,
		"foo eq bar":                             false,
		"foo ne bar":                             true,
		"devices.root.type eq disk":              true,
		"Devices.root.type eq disk":              false,
		"status eq stopped":                      true,
		"type eq container":                      true,
		"state.status eq Stopped":                false,
		// more
		"stateful eq false":            true,
		"status_code eq 102":           true,
		"profiles eq big":              true,
		"profiles eq small":            false,
		"devices.eth0.1.type eq nic":   true,
		`description eq ""`:            true,
		"created_at eq 2024-01-02T.*":  true,
		`name eq "and" or name eq h1a`: true,
		"name.x eq h1a":                false,
		"devices.root.type.x eq disk":  false,
		"name eq h1a AND name eq h1a":  true,
	} {
		c, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := c.Match(web); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	var none *Clauses
	if !none.Match(web) || !none.Empty() || none.Uses("state") {
		t.Error("no filter does not match")
	}
}

func TestMatchMapsAndLists(t *testing.T) {
	image := map[string]any{"aliases": []any{map[string]any{"name": "a"}, map[string]any{"name": "b"}}, "size": 5, "none": nil}
	for text, want := range map[string]bool{"aliases.name eq b": true, "aliases.name eq c": false, "size eq 5": true, "none eq x": false} {
		c, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Match(image); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	if c, _ := Parse("state.status eq x"); !c.Uses("state") || c.Uses("stat") {
		t.Error("Uses")
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"name":                          "clause has no operator",
		"name=h1a":                      "clause has no operator",
		"name eq":                       "clause has no value",
		"name eq a and":                 "unterminated compound clause",
		"name eq a b":                   "invalid clause composition",
		"config.user.os eq hello world": "invalid clause composition",
		"not not name eq h1a":           "invalid clause composition",
		`name eq "h1`:                   "unterminated quote",
		`name eq "h1\"a"`:               "unterminated quote",
		"name xx a":                     `unknown operator "xx" (not one of [eq ne])`,
		"not":                           "incomplete not clause",
	} {
		if _, err := Parse(text); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"name eq a", `not config.x ne "a b" or y eq (b|c)`, "a eq [", `"`, "not", "a eq b and", "profiles eq d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(text)
		if err == nil {
			c.Match(web)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	c, _ := Parse("config.user.os eq ubuntu or name eq h1a")
	for b.Loop() {
		c.Match(web)
	}
}
