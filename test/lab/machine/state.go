package machine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// state is the folder of the saved machine of this shape. One that another QEMU saved, or another image, is not loaded.
func (c Config) state(ctx context.Context) string {
	version, _ := exec.CommandContext(ctx, program, "--version").Output()
	stamp, _ := os.ReadFile(filepath.Join(c.Dir, "stamp"))
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%d\x00%d", version, stamp, kernelArguments, c.Memory, c.CPUs))
	return filepath.Join(c.Dir, "state-"+hex.EncodeToString(sum[:6]))
}

// Save boots a machine and saves it, so that later ones are up in seconds. It does nothing when that was done.
func Save(ctx context.Context, c Config, name string) error {
	final := c.state(ctx)
	if _, err := os.Stat(final); err == nil {
		return nil
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "base.qcow2")); err != nil {
		return ErrNoImage
	}
	m, err := start(ctx, c, name, false, filepath.Join(c.Dir, "base.qcow2"), "")
	if err != nil {
		return err
	}
	temp := m.path("state")
	if err := m.save(ctx, temp); err != nil {
		return errors.Join(m.explain(err), m.Stop())
	}
	if err := os.Rename(temp, final); err != nil && !os.IsExist(err) {
		return errors.Join(err, m.Stop())
	}
	return m.Stop()
}

// save writes the machine's memory and, once QEMU has ended, its disk to a new folder.
func (m *Machine) save(ctx context.Context, dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	q, err := dialQMP(ctx, m.path("qmp"))
	if err != nil {
		return err
	}
	defer q.conn.Close()
	// It is not stopped before: then the restored machine would be stopped, too.
	if err := q.do("migrate", map[string]any{"uri": "exec:zstd -q -1 > " + Quote(dir+"/memory")}, nil); err != nil {
		return err
	}
	if err := q.migrated(ctx); err != nil {
		return err
	}
	if err := q.do("quit", nil, nil); err != nil {
		return err
	}
	select {
	case <-m.qemu.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return os.Rename(m.path("disk.qcow2"), dir+"/disk.qcow2")
}

// qmp is QEMU's monitor. https://www.qemu.org/docs/master/interop/qmp-spec.html
type qmp struct {
	conn net.Conn
	dec  *json.Decoder
}

func dialQMP(ctx context.Context, path string) (*qmp, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if end, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(end)
	}
	q := &qmp{conn, json.NewDecoder(conn)}
	var greeting struct{ QMP json.RawMessage }
	if err := q.dec.Decode(&greeting); err != nil || greeting.QMP == nil {
		return nil, errors.Join(fmt.Errorf("QEMU's monitor gives no greeting: %w", err), conn.Close())
	}
	if err := q.do("qmp_capabilities", nil, nil); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return q, nil
}

// do runs a command and decodes what it returns; events are skipped.
func (q *qmp) do(command string, arguments, result any) error {
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := json.NewEncoder(q.conn).Encode(request); err != nil {
		return err
	}
	for {
		var answer struct {
			Return json.RawMessage
			Error  *struct{ Class, Desc string }
		}
		if err := q.dec.Decode(&answer); err != nil {
			return fmt.Errorf("QEMU's %s: %w", command, err)
		}
		switch {
		case answer.Error != nil:
			return fmt.Errorf("QEMU's %s: %s", command, answer.Error.Desc)
		case answer.Return != nil && result != nil:
			return json.Unmarshal(answer.Return, result)
		case answer.Return != nil:
			return nil
		}
	}
}

// migrated waits until the state has been written.
func (q *qmp) migrated(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		var info struct {
			Status string
			Reason string `json:"error-desc"`
		}
		if err := q.do("query-migrate", nil, &info); err != nil {
			return err
		}
		switch {
		case info.Status == "completed":
			return nil
		case info.Status == "failed", strings.HasPrefix(info.Status, "cancel"):
			return fmt.Errorf("QEMU did not save the machine: %s %s", info.Status, info.Reason)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
