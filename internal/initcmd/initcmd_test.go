package initcmd

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestFlagsThatGoTogether(t *testing.T) {
	for args, want := range map[string]string{
		"":                                    "",
		"--auto":                              "",
		"--auto --minimal":                    "Can't use --auto and --minimal together",
		"--preseed --dump":                    "Can't use --preseed and --dump together",
		"--network-port 9":                    "Configuration flags require --auto",
		"--storage-pool p":                    "Configuration flags require --auto",
		"--auto --network-address ::1":        "",
		"--auto --storage-create-loop 5":      "",
		"--minimal --trust-password x":        "Configuration flags require --auto",
		"--auto --preseed --network-port 443": "Can't use --auto and --preseed together",
	} {
		f := pflag.NewFlagSet("init", pflag.ContinueOnError)
		o := Flags(f)
		if err := f.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := o.Check(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
}

func TestAPreseedSurvivesItself(t *testing.T) {
	p, err := Parse([]byte("config:\n  core.shutdown_timeout: 7\nstorage_pools:\n- name: a\n  driver: dir\nnetworks:\n- name: br0\n  type: bridge\n  config: {ipv4.address: none}\n"))
	if err != nil || len(p.StoragePools) != 1 || p.StoragePools[0].Driver != "dir" || p.Networks[0].Config["ipv4.address"] != "none" {
		t.Fatalf("%+v %v", p, err)
	}
	text, err := p.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if second, _ := again.YAML(); !bytes.Equal(text, second) {
		t.Errorf("%s\n%s", text, second)
	}
	if _, err := Parse(nil); err != nil {
		t.Errorf("an empty preseed: %v", err)
	}
	for _, bad := range []string{"pools: []", "config: [", "storage_pools: {a: b}"} {
		if _, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("config: {a: b}\nprofiles:\n- name: x\n")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := Parse([]byte(text)); err == nil {
			if _, err := p.YAML(); err != nil {
				t.Errorf("%q: %v", text, err)
			}
		}
	})
}

func TestQuestionsAreAskedUntilTheyAreAnswered(t *testing.T) {
	in := strings.NewReader("maybe\nYES\r\n\nab\nxy\ngeheim\ngeheim\nrest")
	var out, errs bytes.Buffer
	q := Ask(in, &out, &errs)
	if yes, err := q.yes("Sure?", false); err != nil || !yes {
		t.Errorf("%v %v", yes, err)
	}
	if yes, err := q.yes("Sure?", true); err != nil || !yes {
		t.Errorf("default: %v %v", yes, err)
	}
	if p, err := q.password("Password: "); err != nil || p != "geheim" {
		t.Errorf("%q %v", p, err)
	}
	if rest, _ := io.ReadAll(in); string(rest) != "rest" {
		t.Errorf("what follows the answers is gone: %q", rest)
	}
	if _, err := q.yes("Sure?", true); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if n := strings.Count(errs.String(), "try again"); n != 2 {
		t.Errorf("%d complaints: %s", n, errs.String())
	}
}
