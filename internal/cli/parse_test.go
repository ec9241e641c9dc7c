package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
)

func TestExpandAlias(t *testing.T) {
	c := &App{}
	root := &cobra.Command{Use: "berth"}
	c.globalFlags(root)
	root.AddCommand(&cobra.Command{Use: "list", Aliases: []string{"ls"}, Run: func(*cobra.Command, []string) {}}, &cobra.Command{Use: "exec", Run: func(*cobra.Command, []string) {}})
	user := map[string]string{"ll": "list -c n", "list": "list -c ns46S", "in": `exec @ARGS@ -- sh -c "echo hi"`, "my list": "list --fast"}
	for _, tt := range []struct {
		args, want []string
	}{
		{[]string{"ll"}, []string{"list", "-c", "n"}},
		{[]string{"ll", "x"}, []string{"list", "-c", "n", "x"}},
		{[]string{"list", "x"}, []string{"list", "-c", "ns46S", "x"}},
		{[]string{"--project", "ll", "ll"}, []string{"--project", "ll", "list", "-c", "n"}},
		{[]string{"in", "c1"}, []string{"exec", "c1", "--", "sh", "-c", "echo hi"}},
		{[]string{"my", "list", "y"}, []string{"list", "--fast", "y"}},
		{[]string{"exec", "ll"}, []string{"exec", "ll"}},
		{[]string{"shell", "c1"}, []string{"exec", "c1", "--", "su", "-l"}},
		{[]string{"ls"}, []string{"ls"}},
		{nil, nil},
	} {
		got, err := expandAlias(user, root, tt.args)
		if err != nil {
			t.Errorf("%v: %v", tt.args, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%v: %s", tt.args, diff)
		}
	}
}

func TestListColumns(t *testing.T) {
	i := &api.InstanceFull{Instance: api.Instance{Name: "c1", Status: "Running", InstancePut: api.InstancePut{Config: map[string]string{"user.a": "value"}},
		ExpandedDevices: map[string]map[string]string{"root": {"pool": "p"}}}}
	for _, tt := range []struct{ spec, header, cells, err string }{
		{"ns", "NAME|STATE", "c1|RUNNING", ""},
		{"n,s", "NAME|STATE", "c1|RUNNING", ""},
		{"n,user.a", "NAME|USER.A", "c1|value", ""},
		{"n,config:user.a:A:3,devices:root.pool:POOL", "NAME|A|POOL", "c1|val|p", ""},
		{"user.a:AB:0", "AB", "va", ""},
		{"z", "", "", "Unknown column shorthand char 'z' in 'z'"},
		{",n", "", "", "No column between two commas, or before the first or after the last one, in ',n'"},
		{"user.a:A:z", "", "", "Invalid width 'z' in 'user.a:A:z': it is not a whole number"},
	} {
		cols, err := parseListColumns(tt.spec)
		if tt.err != "" {
			if err == nil || err.Error() != tt.err {
				t.Errorf("%s: got error %v", tt.spec, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.spec, err)
			continue
		}
		var header, cells []string
		for _, c := range cols {
			header, cells = append(header, c.name), append(cells, c.cell(i))
		}
		if strings.Join(header, "|") != tt.header || strings.Join(cells, "|") != tt.cells {
			t.Errorf("%s: got %v %v", tt.spec, header, cells)
		}
	}
}

func TestInstanceFilters(t *testing.T) {
	i := &api.InstanceFull{Instance: api.Instance{Name: "web01", Type: "container", Status: "Running", ExpandedConfig: map[string]string{"user.blah": "abc", "security.privileged": "true"}},
		State: &api.InstanceState{Network: map[string]api.InstanceStateNetwork{"eth0": {Addresses: []api.InstanceStateNetworkAddress{{Family: "inet", Address: "10.0.0.7"}}}}}}
	for filter, want := range map[string]bool{
		"web": true, "eb": false, ".*01$": true, ".*02$": false, "user.blah=abc": true, "u.blah=abc": true, "u.blah=x": false, "s.privileged=true": true,
		"type=container": true, "type=virtual-machine": false, "status=RUNNING": true, "status=stopped,running": true, "ipv4=10.0.0.0/24": true, "ipv4=10.0.0.8": false, "user.blah=a.*": true,
	} {
		if got := parseInstanceFilters([]string{filter}).match(i); got != want {
			t.Errorf("%s: got %v", filter, got)
		}
	}
}

func TestKeyValues(t *testing.T) {
	c := &App{In: strings.NewReader("from stdin")}
	for _, tt := range []struct {
		args []string
		want map[string]string
		err  string
	}{
		{[]string{"a", "b"}, map[string]string{"a": "b"}, ""},
		{[]string{"a=b", "c=d=e"}, map[string]string{"a": "b", "c": "d=e"}, ""},
		{[]string{"a", "-"}, map[string]string{"a": "from stdin"}, ""},
		{[]string{"a=b", "c"}, nil, "Invalid key=value configuration: c"},
	} {
		got, err := c.keyValues(tt.args...)
		if tt.err != "" {
			if err == nil || err.Error() != tt.err {
				t.Errorf("%v: got error %v", tt.args, err)
			}
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%v: %v %s", tt.args, err, diff)
		}
	}
}

func TestTableLooksLikeLXC(t *testing.T) {
	var b strings.Builder
	rows := [][]string{{"c1", "RUNNING"}, {"web", "STOPPED"}}
	for format, want := range map[string]string{
		formatTable: `+------+---------+
| NAME |  STATE  |
+------+---------+
| c1   | RUNNING |
+------+---------+
| web  | STOPPED |
+------+---------+
`,
		formatCompact: "  NAME   STATE   \n  c1    RUNNING  \n  web   STOPPED  \n",
		formatCSV:     "c1,RUNNING\nweb,STOPPED\n",
		formatJSON:    "[\"x\"]\n",
		formatYAML:    "- x\n",
	} {
		b.Reset()
		if err := renderTable(&b, format, []string{"NAME", "STATE"}, rows, []string{"x"}); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, b.String()); diff != "" {
			t.Errorf("%s: %s", format, diff)
		}
	}
}

func TestNaturalOrder(t *testing.T) {
	rows := [][]string{{"c10"}, {"c2"}, {"b"}, {"c1"}}
	sortRows(rows)
	if diff := cmp.Diff([][]string{{"b"}, {"c1"}, {"c2"}, {"c10"}}, rows); diff != "" {
		t.Error(diff)
	}
}

func TestEscapeReader(t *testing.T) {
	found := make(chan struct{})
	e := &escapeReader{r: strings.NewReader("ab\x01qcd"), found: found}
	buf := make([]byte, 16)
	n, err := e.Read(buf)
	if string(buf[:n]) != "ab\x01" || err == nil {
		t.Errorf("got %q %v", buf[:n], err)
	}
	<-found
}

func FuzzColumns(f *testing.F) {
	f.Add("ns46tS")
	f.Add("n,config:a.b:C:3,devices:eth0.parent")
	f.Fuzz(func(t *testing.T, spec string) {
		cols, err := parseListColumns(spec)
		if err != nil {
			return
		}
		for _, c := range cols {
			c.cell(&api.InstanceFull{})
		}
	})
}

func TestWordsOfAliasesAndEditors(t *testing.T) {
	t.Setenv("EDITOR", "")
	for text, want := range map[string][]string{`sh -c 'a b' "c d" e\ f`: {"sh", "-c", "a b", "c d", "e f"}, "vim": {"vim"}} {
		t.Setenv("VISUAL", text)
		if got, err := editorCommand(); err != nil || !cmp.Equal(got, want) {
			t.Errorf("editor %s: %q %v", text, got, err)
		}
		got, err := expandAlias(map[string]string{"a": text}, &cobra.Command{Use: "berth"}, []string{"a"})
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("alias %s: %q %v", text, got, err)
		}
	}
	t.Setenv("VISUAL", "vim 'x")
	if _, err := editorCommand(); err == nil {
		t.Error("an editor with unbalanced quotes")
	}
	if _, err := expandAlias(map[string]string{"a": "list 'x"}, &cobra.Command{Use: "berth"}, []string{"a"}); err == nil {
		t.Error("an alias with unbalanced quotes")
	}
}

// TestWhichAliasIsMeant: the one with the most words, then a user's, then a command, then one of ours.
func TestWhichAliasIsMeant(t *testing.T) {
	user := map[string]string{
		"go": "one", "go to": "two", "go to work": "three @ARGS@ now", "go to bed": "four", "cp": "mine", "info": "theirs", "launch slow": "launch -c limits.cpu=1",
	}
	root := &cobra.Command{Use: "berth"}
	root.PersistentFlags().String("project", "", "")
	root.AddCommand(&cobra.Command{Use: "launch"}, &cobra.Command{Use: "info"}, &cobra.Command{Use: "list"})
	for args, want := range map[string]string{
		"go": "one", "go x": "one x", "go to": "two", "go to x": "two x", "go to work": "three now", "go to work a b": "three a b now", "go to bed to": "four to",
		"cp a b": "mine a b", "mv a b": "move a b", "shell c1": "exec c1 -- su -l", "info c1": "theirs c1",
		"launch bb": "launch bb", "launch slow bb": "launch -c limits.cpu=1 bb", "list go": "list go", "x go": "x go", "-- go": "-- go",
		"--project p go to x": "--project p two x", "--project=p go": "--project=p one", "--project go": "--project go",
	} {
		for range 20 { // chance has no say in it
			got, err := expandAlias(user, root, strings.Fields(args))
			if err != nil || strings.Join(got, " ") != want {
				t.Errorf("%s: got %q, want %q: %v", args, got, want, err)
				break
			}
		}
	}
}
