package instance

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/omitted"
)

// Filters of system calls are in liblxc's syntax, which lxc.container.conf(5) describes in part. liblxc reads them as it starts a container
// and cannot be asked before, so this is what 5.0.2 was seen to take (TestRawSeccompAsLiblxcReadsIt). Besides what it refuses, what it
// passes over without a word is refused: a text that is no name, and what stands behind an action.

// filterKeys are those whose texts are filters.
var filterKeys = map[string]func(text string) error{
	"raw.seccomp":             wholeFilter,
	"security.syscalls.allow": func(v string) error { return filterRules(v, "kill", "allow") },
	"security.syscalls.deny":  func(v string) error { return filterRules(v, "allow", "kill") },
}

// checkNewFilters refuses, of what was set anew, texts that are no filter, and a filter beside a whole one, which would be all that counts.
// Values that are there already stay: an earlier version took both.
func checkNewFilters(was, now map[string]string) error {
	for _, key := range config.Changed(was, now) {
		check, isText := filterKeys[key]
		isText = isText && now[key] != ""
		if isText {
			if err := check(now[key]); err != nil {
				return api.BadRequest("%w (%s=%q)", err, key, now[key])
			}
		}
		if (isText || key == denyDefault && config.IsTrue(now[key])) && rawFilterHides(now) {
			return api.BadRequest("raw.seccomp is mutually exclusive with security.syscalls*")
		}
	}
	return nil
}

const denyDefault = "security.syscalls.deny_default"

// warnHiddenFilters warns that an instance has filters without an effect, or that it has none any more.
func warnHiddenFilters(ctx context.Context, project, name string, c map[string]string) {
	r := omitted.Remark{Kind: "Filters of system calls have no effect beside raw.seccomp", Entity: url(project, name)}
	if rawFilterHides(c) {
		r.Message = "security.syscalls.* are ignored"
	}
	omitted.Say(ctx, r)
}

// rawFilterHides tells whether a whole filter stands beside others, which have no effect then.
func rawFilterHides(c map[string]string) bool {
	return c["raw.seccomp"] != "" && (c["security.syscalls.allow"] != "" || denies(c))
}

// checkFilters refuses filters of system calls of which one would leave the others without an effect.
func checkFilters(c map[string]string) error {
	if c["security.syscalls.allow"] != "" && denies(c) {
		return api.BadRequest("security.syscalls.allow is mutually exclusive with security.syscalls.deny*")
	}
	return nil
}

func denies(c map[string]string) bool {
	return c["security.syscalls.deny"] != "" || config.IsTrue(c[denyDefault])
}

// cSpace is what scanf's blanks are.
const cSpace = " \t\n\v\f\r"

// scanInt reads a number as scanf's %d does, and gives the rest of the text.
func scanInt(text string) (n int64, rest string, ok bool) {
	text = strings.TrimLeft(text, cSpace)
	end := 0
	if text != "" && strings.ContainsRune("+-", rune(text[0])) {
		end = 1
	}
	end += len(text[end:]) - len(strings.TrimLeft(text[end:], "0123456789"))
	n, err := strconv.ParseInt(text[:end], 10, 32)
	return n, text[end:], err == nil
}

// wholeFilter checks a version, which way round the list is and what happens to all that is not on it, and the rules.
func wholeFilter(v string) error {
	version, rest, ok := scanInt(v)
	if !ok || version != 1 && version != 2 {
		first, _, _ := strings.Cut(strings.Trim(v, cSpace), "\n")
		return fmt.Errorf("Invalid seccomp policy: line 1 is %q and not the version, 1 or 2", strings.TrimSpace(first))
	}
	rest = strings.TrimLeft(rest, cSpace)
	if rest == "" {
		return errors.New("Invalid seccomp policy: line 2 is missing: allowlist or denylist")
	}
	first := 2 + strings.Count(v[:len(v)-len(rest)], "\n")
	line, rules, _ := strings.Cut(rest, "\n")
	if version == 1 {
		return numberFilter(line, rules, first)
	}
	for _, style := range []struct{ word, rest, action string }{
		{"allowlist", "kill", "allow"}, {"whitelist", "kill", "allow"}, {"denylist", "allow", "kill"}, {"blacklist", "allow", "kill"},
	} {
		behind, ok := strings.CutPrefix(line, style.word)
		if !ok {
			continue
		}
		policy, err := filterAction(behind, style.rest)
		if err != nil || strings.Contains(behind, "[") || behind != "" && !strings.ContainsRune(" \r", rune(behind[0])) {
			return fmt.Errorf("Invalid seccomp policy: line %d: behind %s stands %q and no action (allowed: %s)", first-1, style.word, behind, actionNames)
		}
		return rulesBeside(rules, first, policy, style.action)
	}
	return fmt.Errorf("Invalid seccomp policy: line %d is %q and neither allowlist nor denylist", first-1, line)
}

// numberFilter checks the rest of a filter of version 1: a number of a call in each line.
func numberFilter(style, rules string, first int) error {
	if strings.TrimRight(style, cSpace) != "allowlist" {
		return fmt.Errorf("Invalid seccomp policy: line %d is %q: version 1 has allowlist only", first-1, style)
	}
	if rules == "" {
		return nil
	}
	for n, line := range strings.Split(strings.TrimSuffix(rules, "\n"), "\n") {
		number, rest, ok := scanInt(line)
		if rest = strings.TrimLeft(rest, cSpace); !ok || number < 0 || rest != "" && rest[0] != '#' {
			return fmt.Errorf("Invalid seccomp policy: line %d: %q is no number of a system call", first+n, line)
		}
	}
	return nil
}

// filterRules checks rules alone.
func filterRules(text, policy, otherwise string) error {
	return rulesBeside(strings.TrimSpace(text), 1, policy, otherwise)
}

// rulesBeside checks rules, of which the first is in line first. The policy is what happens to calls that no rule names, otherwise what
// happens to those whose rule says no more. Calls that liblxc does not know it passes over, with a line in the instance's log, as each
// architecture has its own; so they are none of what is refused.
func rulesBeside(text string, first int, policy, otherwise string) error {
	for n, line := range strings.Split(text, "\n") {
		if err := filterRule(line, policy, otherwise); err != nil {
			return fmt.Errorf("Invalid seccomp policy: line %d: %w", first+n, err)
		}
	}
	return nil
}

// filterArchitectures are those that liblxc knows; it skips the rules of others than the host's.
var filterArchitectures = []string{"all", "x86", "x86_64", "x32", "arm", "arm64", "ppc", "ppc64", "ppc64le", "mips", "mips64", "mips64n32", "mipsel",
	"mipsel64", "mipsel64n32", "s390", "s390x"}

var callName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

func filterRule(line, policy, otherwise string) error {
	if strings.TrimSpace(line) == "" || line[0] == '#' {
		return nil
	}
	if line[0] == '[' {
		name := strings.TrimSuffix(line[1:], "]")
		if len(name) != len(line)-2 || name != strings.ToLower(name) && name != strings.ToUpper(name) || !slices.Contains(filterArchitectures, strings.ToLower(name)) {
			return fmt.Errorf("%q is no architecture (allowed: [%s])", line, strings.Join(filterArchitectures, "], ["))
		}
		return nil
	}
	name, _, _ := strings.Cut(line, " ")
	if !callName.MatchString(name) {
		return fmt.Errorf("%q is no name of a system call, which ends at a blank", name)
	}
	action, err := filterAction(line[len(name):], otherwise)
	switch {
	case err != nil:
		return err
	case action == policy && name != "reject_force_umount":
		return fmt.Errorf("%q is what happens to all system calls that no line names", action)
	}
	return nil
}

// largestErrno is the largest number that libseccomp lets a call fail with.
const largestErrno = 4094

const actionNames = "kill, errno NUMBER, allow, trap, notify"

// filterAction reads what follows the name of a call: an action, or otherwise where there is none, and conditions on arguments. The number
// of an error is part of the action.
func filterAction(text, otherwise string) (string, error) {
	text = strings.TrimLeft(text, " ")
	if strings.TrimSpace(text) == "" || text[0] == '#' && !strings.Contains(text, "[") {
		return otherwise, nil
	}
	for _, action := range []string{"kill", "errno", "allow", "trap", "notify"} {
		rest, ok := strings.CutPrefix(text, action)
		if !ok {
			continue
		}
		if action == "errno" {
			number, behind, ok := scanInt(rest)
			if !ok || number < 0 || number > largestErrno {
				return "", fmt.Errorf("%q has no number of an error (0 to %d)", text, largestErrno)
			}
			action, rest = fmt.Sprintf("errno %d", number), behind
		}
		return action, filterConditions(rest)
	}
	return "", fmt.Errorf("%q is no action (allowed: %s)", text, actionNames)
}

// A condition is [INDEX,VALUE,OPERATOR] or [INDEX,VALUE,OPERATOR,MASK], without the bracket at its end.
var condition = regexp.MustCompile(`^[ ,]*\[([0-5]),([0-9]+|0x[0-9a-fA-F]+),(SCMP_CMP_(NE|LT|LE|EQ|GE|GT|MASKED_EQ)|!=|<|<=|==|>=|>|&=)(,([0-9]+|0x[0-9a-fA-F]+))?$`)

// filterConditions checks what follows an action: a comment, or conditions and nothing behind the last.
func filterConditions(text string) error {
	blank := strings.TrimLeft(text, cSpace)
	if !strings.Contains(text, "[") {
		if blank == "" || len(blank) < len(text) && blank[0] == '#' {
			return nil
		}
		return fmt.Errorf("%q behind the action would have no effect", text)
	}
	var seen []string
	for _, one := range strings.FieldsFunc(text, func(r rune) bool { return r == ']' }) {
		m := condition.FindStringSubmatch(one)
		if m == nil {
			return fmt.Errorf("%q are no conditions: [ARGUMENT,VALUE,OPERATOR] or [ARGUMENT,VALUE,OPERATOR,MASK], argument 0 to 5, and nothing behind them", text)
		}
		if slices.Contains(seen, m[1]) {
			return fmt.Errorf("%q has two conditions on argument %s", text, m[1])
		}
		seen = append(seen, m[1])
	}
	return nil
}
