package instance

import (
	"slices"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/omitted"
	"github.com/berthd/berth/internal/operation"
)

// TestRawSeccompAsLiblxcReadsIt: what is taken liblxc 5.0.2 took, tried with each; what is refused it refused, or (at the end) passed over.
func TestRawSeccompAsLiblxcReadsIt(t *testing.T) {
	for _, text := range []string{
		"2\ndenylist", " 2 \ndenylist", "2\n\ndenylist\nmknodat errno 38", "\n2\ndenylist\nmknodat errno 38", "2\n  denylist\nmknodat errno 38", "2\n\tdenylist",
		"02\ndenylist\nmknodat errno +38", "+2\ndenylist", "2 denylist", "2\r\n\r\ndenylist\r\nmknodat errno 1\r\n", "2\nblacklist\nmount errno 1",
		"2\nwhitelist\n[all]\nmount", "2\ndenylist errno 5\nmount", "2\ndenylist errno 5\nmount errno 6", "2\ndenylist kill\nmount allow", "2\nallowlist errno 1\nmount",
		"2\nallowlist\nmount trap", "2\nallowlist\nmount allow", "2\ndenylist\nmount trap\nopen notify", "2\ndenylist\n# why\n\nmount errno 1 # because",
		"2\ndenylist\n   \nmount errno\t1", "2\ndenylist\nmount errno1", "2\ndenylist\nmount errno 0", "2\ndenylist\nmount #", "2\ndenylist\n[ALL]\nmount errno 1",
		"2\ndenylist\n[arm]\nmount errno 1", "2\ndenylist\nmount errno 1 [0,1,SCMP_CMP_EQ]", "2\ndenylist\nmount errno 1[0,1,==]",
		"2\ndenylist\nmount errno 1 [0,1,SCMP_CMP_EQ],[1,0x2,<]", "2\ndenylist\nmount errno 1 [5,1,&=,7]", "2\ndenylist\nreject_force_umount",
		"2\nallowlist\nreject_force_umount", "2\ndenylist\nnosuchcall errno 1", "1\nallowlist\n0\n1", "1\nallowlist\n0\n", "1\n allowlist\n0 # read", "1\nallowlist",
	} {
		if err := wholeFilter(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for text, want := range map[string]string{
		"foo": "line 1", "3\ndenylist": "line 1", "# c\n2\ndenylist": "line 1", "0x2\ndenylist": "line 1", "2x\ndenylist": "line 1", "2": "line 2 is missing", "2\n": "line 2 is missing",
		"2\nfoo": `line 2 is "foo"`, "\n\n2\nfoo": `line 4 is "foo"`, "1\ndenylist\n0": "version 1", "1\nwhitelist\n0": "version 1", "1\nallowlist\nfoo": "line 3",
		"1\nallowlist\n\n0": "line 3", "1\nallowlist\n0\n\n": "line 4", "1\nallowlist\n# c": "line 3", "1\nallowlist\n-1": "line 3",
		"2\ndenylist errno zz": "line 2", "2\ndenylist foo": "line 2", "2\ndenylist\nmount errno": "line 3", "2\n\ndenylist\nmount trace 5": "line 4",
		"2\ndenylist\nmount log": `"log" is no action`, "2\ndenylist\nmount\terrno zz": "line 3", "2\ndenylist\n  mount errno 1": "line 3", "2\ndenylist\nmount \terrno 1": "line 3",
		"2\ndenylist\nmount errno 4095": "0 to 4094", "2\ndenylist\nmount errno -3": "0 to 4094", "2\ndenylist\n[x86": "no architecture", "2\ndenylist\n[foo]": "no architecture",
		"2\ndenylist\n[All]": "no architecture", "2\ndenylist\n[all]\r\n": "no architecture", "2\ndenylist\n[all] ": "no architecture", "2\ndenylist\n[": "no architecture",
		"2\ndenylist\nkeyctl allow": "no line names", "2\nallowlist\nkeyctl kill": "no line names", "2\ndenylist kill\nmount": "no line names",
		"2\ndenylist errno 5\nmount errno 5": "no line names", "2\nallowlist allow\nmount": "no line names", "2\ndenylist\nmount errno 1 [1,2,SCMP_BAD]": "no conditions",
		"2\ndenylist\nmount errno 1 [0,1]": "no conditions", "2\ndenylist\nmount errno 1 [6,1,==]": "no conditions", "2\ndenylist\nmount errno 1 [0, 1, ==]": "no conditions",
		"2\ndenylist\nmount errno 1 [0,-1,==]": "no conditions", "2\ndenylist\nmount errno 1 [0,1,==,x]": "no conditions", "2\ndenylist\nmount errno 1 [0,1,==] ": "no conditions",
		"2\ndenylist\nmount errno 1 [0,1,==] # c": "no conditions", "2\ndenylist\nmount errno 1 # [why]": "no conditions", "2\ndenylist\nmount # why [a]": "no action",
		"2\ndenylist\nmount [0,1,==]": "no action", "2\ndenylist\nmount errno 1 [0,1,==] [0,2,==]": "two conditions",
		// passed over
		"2\ndenylistfoo": "line 2", "2\ndenylist\tkill\nmount": "line 2", "2\ndenylist\nmount\tkill": "no name", "2\ndenylist\nMount kill": "no name", "2\ndenylist\n165 errno 1": "no name",
		"2\ndenylist\nmount\r\n": "no name", "2\ndenylist\nmount#c": "no name", "2\ndenylist\nmount killx": "behind the action", "2\ndenylist\nmount errno 1x": "behind the action",
		"2\ndenylist\nmount errno 38,keyctl errno 38": "behind the action", "2\ndenylist\nmount errno 0x10": "behind the action", "2\ndenylist\nmount errno 1 x[0,1,==]": "no conditions",
		"1\nallowlistx\n0": "version 1", "1\nallowlist\n0 1": "line 3", "1\nallowlist\n0xa": "line 3",
	} {
		if err := wholeFilter(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestSyscallsDenyTakesEffectOrIsRefused: what liblxc cannot read, or would pass over. Lines of security.syscalls.* are rules alone.
func TestSyscallsDenyTakesEffectOrIsRefused(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	for text, want := range map[string]string{
		"mount errno 1\n\nfoo": "", "mount errno 1 # x\n": "", "[x86_64]\nmount": "", "mount errno zz": "line 1", "mount\nopen foo": "line 2", "[all": "line 1",
		"keyctl allow": "no line names", "mknod\terrno 1": "no name", "mknodat\tkill": "no name", "mknodat errno 38,keyctl errno 38": "behind the action",
		"mknod errno 1 [1,2,SCMP_BAD]": "no conditions", "[foo]\nmount": "no architecture",
	} {
		err := h.patch("c1", map[string]string{"security.syscalls.deny": text}, nil)
		if want == "" && err != nil || want != "" && (api.StatusOf(err) != 400 || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "security.syscalls.deny=")) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	allow := map[string]string{"security.syscalls.deny": "", "security.syscalls.deny_default": "false", "security.syscalls.allow": "read kill"}
	if err := h.patch("c1", allow, nil); err == nil || !strings.Contains(err.Error(), "no line names") {
		t.Errorf("allow: %v", err)
	}
	allow["security.syscalls.allow"] = "read allow"
	h.do(h.patch("c1", allow, nil))
}

// TestAnOldFilterStarts: a text that is refused where it is new is none of what keeps an instance from its start, or from other changes.
func TestAnOldFilterStarts(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	h.do(h.modify(t.Context(), "default", "c1", func(i *Instance) error {
		i.Config["raw.seccomp"] = "2\ndenylist\nmknod errno 1x"
		return nil
	}))
	h.do(h.patch("c1", map[string]string{"user.a": "1"}, nil))
	if err := h.patch("c1", map[string]string{"raw.seccomp": "2\ndenylist\nmknod errno 2x"}, nil); api.StatusOf(err) != 400 {
		t.Errorf("another one like it: %v", err)
	}
	h.do(h.run(h.SetState(t.Context(), "default", "c1", api.InstanceStatePut{Action: "start"})))
}

// TestRawFilterBesideADenialThatChanges: neither of a pair that an earlier version took changes without an effect; each can go.
func TestRawFilterBesideADenialThatChanges(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	pair := func(i *Instance) error {
		i.Config["raw.seccomp"], i.Config["security.syscalls.deny"] = "2\ndenylist", "mount"
		return nil
	}
	h.do(h.modify(t.Context(), "default", "c1", pair))
	for key, value := range map[string]string{"security.syscalls.deny": "mount\nkeyctl", "raw.seccomp": "2\ndenylist\nmount", "security.syscalls.deny_default": "true"} {
		if err := h.patch("c1", map[string]string{key: value}, nil); api.StatusOf(err) != 400 || !strings.Contains(err.Error(), "raw.seccomp is mutually exclusive with security.syscalls*") {
			t.Errorf("%s=%q: %v", key, value, err)
		}
	}
	h.do(h.patch("c1", map[string]string{"security.syscalls.deny_default": "false", "user.a": "1"}, nil))
	h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: "s"})))
	h.do(h.patch("c1", map[string]string{"raw.seccomp": ""}, nil))
	h.do(h.patch("c1", map[string]string{"security.syscalls.deny": "mount\nkeyctl"}, nil))
	ctx, remarks := omitted.Gather(t.Context())
	task, err := h.Restore(ctx, "default", "c1", "s", anyRevision)
	h.do(err)
	h.do(task.Run(ctx, operation.NoProgress{}))
	var said []string
	for _, r := range remarks.List() {
		said = append(said, r.String())
	}
	if !slices.Contains(said, "Filters of system calls have no effect beside raw.seccomp: security.syscalls.* are ignored") {
		t.Errorf("restored: %q", said)
	}
}

func FuzzFilter(f *testing.F) {
	for _, seed := range []string{"2\ndenylist\n[all]\nmount errno 1 [0,1,==] # x", "1\nallowlist\n0", "\n+2\tallowlist errno 5\n#\n[", "2\r\nx"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if err := wholeFilter(text); err == nil && !strings.Contains(text, "list") {
			t.Errorf("%q", text)
		}
	})
}
