package apparmor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
)

// ErrNoParser is why a profile that is not in the cache cannot be loaded.
var ErrNoParser = errors.New("this host enforces AppArmor, but 'apparmor_parser' couldn't be found (package apparmor)")

// Load brings a profile into the kernel, in the place of the one of that name, and returns the label to start processes with; see
// Start. Where profiles cannot be loaded (State) it is "". The parser runs only when the text has changed since it last did: what it made
// is kept in the cache folder.
func (h *Host) Load(ctx context.Context, p Profile) (label string, err error) {
	if h == nil || h.state != On {
		return "", nil
	}
	text, err := h.Text(p)
	if err != nil {
		return "", err
	}
	name := h.Name(p.Kind, p.ID)
	defer h.lock(name)()
	if p.Namespace && h.stacks() {
		if err := os.Mkdir(h.namespace(name), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("AppArmor namespace %s: %w", name, err)
		}
	}
	binary, cached := h.cached(name, text)
	if !cached {
		if binary, err = h.renew(ctx, name, text); err != nil {
			return "", err
		}
	}
	err = h.replace(binary)
	if err != nil && cached { // the cached binary is damaged, or was compiled for another kernel
		if binary, err = h.renew(ctx, name, text); err == nil {
			err = h.replace(binary)
		}
	}
	if err != nil {
		return "", fmt.Errorf("AppArmor profile %s cannot be loaded: %w", name, err)
	}
	return h.Label(p), nil
}

// lock holds a profile's files for one call of Load.
func (h *Host) lock(name string) (unlock func()) {
	one, _ := h.busy.LoadOrStore(name, &sync.Mutex{})
	mu := one.(*sync.Mutex) // nothing else is stored
	mu.Lock()
	return mu.Unlock
}

func (h *Host) file(folder, name string) string { return filepath.Join(h.dir, folder, name) }

func (h *Host) namespace(name string) string {
	return filepath.Join(h.fs, "policy", "namespaces", name)
}

// replace hands a compiled profile to the kernel, which takes it in one write.
func (h *Host) replace(binary []byte) error {
	return writeOnce(filepath.Join(h.fs, ".replace"), binary)
}

func writeOnce(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = unix.Write(int(f.Fd()), data) // os.File would go on after a short write, with half a profile
	return errors.Join(err, f.Close())
}

// key names all that a compiled profile depends on: its text, the kernel's features and the parser.
func (h *Host) key(text string) [sha256.Size]byte {
	sum := sha256.New()
	sum.Write(h.environment())
	_, _ = io.WriteString(sum, text)
	return [sha256.Size]byte(sum.Sum(nil))
}

// environment hashes the kernel's features and the parser's identity.
func environment(securityFS, parser string) []byte {
	sum := sha256.New()
	root := filepath.Join(securityFS, "features")
	_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			raw, _ := os.ReadFile(path)
			_, _ = fmt.Fprintf(sum, "%s %q\n", path, raw)
		}
		return nil
	})
	if info, err := os.Stat(parser); err == nil {
		_, _ = fmt.Fprintf(sum, "%d %d", info.Size(), info.ModTime().UnixNano())
	}
	return sum.Sum(nil)
}

// cached reads what was compiled from a text; a file begins with the key of what it holds.
func (h *Host) cached(name, text string) ([]byte, bool) {
	raw, err := os.ReadFile(h.file("cache", name))
	key := h.key(text)
	if err != nil || !bytes.HasPrefix(raw, key[:]) {
		return nil, false
	}
	return raw[len(key):], true
}

// renew compiles a profile and keeps text and result.
func (h *Host) renew(ctx context.Context, name, text string) ([]byte, error) {
	binary, err := h.compile(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("AppArmor profile %s: %w", name, err)
	}
	key := h.key(text)
	for _, f := range []struct {
		path string
		data []byte
	}{{h.file("profiles", name), []byte(text)}, {h.file("cache", name), append(key[:], binary...)}} {
		if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
			return nil, err
		}
		// Not synced: after a power cut a damaged file has another key, or the kernel refuses it, and it is compiled again.
		if err := os.WriteFile(f.path+".new", f.data, 0o600); err != nil {
			return nil, err
		}
		if err := os.Rename(f.path+".new", f.path); err != nil {
			return nil, err
		}
	}
	return binary, nil
}

// maxBinary bounds the parser's output in bytes, far above the size of any profile.
const maxBinary = 16 << 20

// compile runs the parser on a text. The host's own configuration of it is left out: distributions pin features of some older kernel
// there, with which rules on mounts would be dropped in silence.
func (h *Host) compile(ctx context.Context, text string) ([]byte, error) {
	out, err := h.parse(ctx, text, "--skip-kernel-load", "--stdout")
	if err != nil {
		return nil, err
	}
	if len(out) == 0 || len(out) > maxBinary {
		return nil, fmt.Errorf("apparmor_parser gave %d bytes", len(out))
	}
	return out, nil
}

func (h *Host) parse(ctx context.Context, text string, args ...string) ([]byte, error) {
	if h.parser == "" {
		return nil, ErrNoParser
	}
	features := filepath.Join(h.fs, "features")
	if _, err := os.Stat(features); err != nil {
		features = "/usr/share/apparmor-features/features" // a check on a host without AppArmor
	}
	args = append([]string{"--config-file=/dev/null", "--policy-features=" + features, "--kernel-features=" + features, "--skip-cache", "--quiet", "--jobs=0"}, args...)
	cmd := exec.CommandContext(ctx, h.parser, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.Stdin = strings.NewReader(text)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			return nil, fmt.Errorf("apparmor_parser refuses it: %s", firstLines(said.String()))
		}
		return nil, err
	}
	return out.Bytes(), nil
}

func firstLines(said string) string {
	const most = 400
	said = strings.Join(strings.Fields(said), " ")
	return said[:min(len(said), most)]
}

// Check has the parser read raw.apparmor as a part of a profile (api.BadRequest). Where there is no parser nothing is known.
func (h *Host) Check(ctx context.Context, raw string) error {
	if err := CheckRaw(raw); err != nil || h == nil || h.parser == "" {
		return err
	}
	p := Profile{Kind: Instance, ID: "check", Raw: raw}
	text, err := h.Text(p)
	if err != nil {
		return err
	}
	// Names of profiles: there must be but the one, and those within it.
	out, err := h.parse(ctx, text, "--names")
	if err != nil {
		return api.BadRequest("Failed to parse raw.apparmor: %s", err)
	}
	name := h.Name(p.Kind, p.ID)
	for got := range strings.FieldsSeq(string(out)) {
		if got != name && !strings.HasPrefix(got, name+"//") {
			return api.BadRequest("raw.apparmor defines another profile: %s", got)
		}
	}
	return nil
}
