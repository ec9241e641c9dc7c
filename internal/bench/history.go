package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/berthd/berth/internal/store"
)

// History measures whole daemons on stores with ever more history. The stores are written directly: making fifty
// thousand snapshots through the API would measure the file system.
type History struct {
	Daemon    string // the program
	Path      string // of the store below the daemon's folder
	Instances int
	Vary      bool // no snapshot has the configuration of the one before it
	Out       io.Writer
}

// historyLists are what is asked, with a name that fits a column.
var historyLists = []struct{ name, path string }{
	{"urls", "/1.0/instances"}, {"recursion=1", "/1.0/instances?recursion=1"}, {"recursion=2", "/1.0/instances?recursion=2"},
	{"of one", "/1.0/instances/c000/snapshots"},
}

// samples is how often each list is asked for; the median counts.
const samples = 15

// Run measures a daemon with each of the given numbers of snapshots of each instance, and prints a line for each.
func (h *History) Run(ctx context.Context, snapshots ...int) error {
	fmt.Fprintf(h.Out, "%9s %9s %8s %12s %10s", "instances", "snapshots", "store", "first answer", "PSS start")
	for _, l := range historyLists {
		fmt.Fprintf(h.Out, " %22s", l.name)
	}
	fmt.Fprintf(h.Out, " %10s\n", "PSS end")
	for _, each := range snapshots {
		if err := h.one(ctx, each); err != nil {
			return fmt.Errorf("%d snapshots of each: %w", each, err)
		}
	}
	return nil
}

func (h *History) one(ctx context.Context, each int) (err error) {
	root, err := os.MkdirTemp("", "berth-history-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	if err := os.Chmod(root, 0o711); err != nil {
		return err
	}
	path := filepath.Join(root, h.Path)
	if err := h.fill(ctx, path, each); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	d, err := h.start(ctx, root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	fmt.Fprintf(h.Out, "%9d %9d %5d MB %9.0f ms %7.1f MB", h.Instances, h.Instances*each, info.Size()>>20, milliseconds(d.answered), d.pss())
	for _, l := range historyLists {
		took, size, err := d.ask(ctx, l.path)
		if err != nil {
			return err
		}
		fmt.Fprintf(h.Out, " %8.2f ms %8.2f MB", milliseconds(took), float64(size)/1e6)
	}
	fmt.Fprintf(h.Out, " %7.1f MB\n", d.pss())
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// fill writes the records of instances, of their snapshots, and of both's volumes.
func (h *History) fill(ctx context.Context, path string, each int) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	engine, err := store.OpenBolt(path, store.Options{NoBackup: true})
	if err != nil {
		return err
	}
	db := store.New(engine)
	instances, snapshots := store.NewTable[historyInstance](db, "instances"), store.NewTable[historySnapshot](db, "instance-snapshots")
	volumes := store.NewTable[json.RawMessage](db, "storage-volumes")
	for n := range h.Instances {
		name := fmt.Sprintf("c%03d", n)
		body, volume := historyBody(n), json.RawMessage(`{}`)
		ops := []store.Op{instances.Put(&historyInstance{body, "default", name, "default"}, "default", name), volumes.Put(&volume, "default", "default", "container", name)}
		for k := range each {
			snapshot := fmt.Sprintf("snap%d", k)
			record := &historySnapshot{record: body}
			record.CreatedAt = body.CreatedAt.Add(time.Duration(k) * time.Hour)
			if h.Vary {
				record.Config = varied(body.Config, n, k)
			}
			ops = append(ops, snapshots.Put(record, "default", name, snapshot), volumes.Put(&volume, "default", "default", "container", name, snapshot))
		}
		if _, err := db.CommitAll(ctx, ops); err != nil {
			return errors.Join(err, db.Close())
		}
	}
	return db.Close()
}

// record, historyInstance and historySnapshot are the daemon's records, field by field in its order.
type record struct {
	Type         string                       `json:"type"`
	Architecture string                       `json:"architecture"`
	Config       map[string]string            `json:"config"`
	Devices      map[string]map[string]string `json:"devices"`
	Profiles     []string                     `json:"profiles"`
	CreatedAt    time.Time                    `json:"created_at"`
	LastUsedAt   time.Time                    `json:"last_used_at"`
}

type historyInstance struct {
	record
	Project string `json:"project"`
	Name    string `json:"name"`
	Pool    string `json:"pool"`
}

type historySnapshot struct {
	record
	ExpiresAt time.Time `json:"expires_at"`
}

// historyBody is what an instance that has run and its snapshots have in common.
func historyBody(n int) record {
	uuid := func(kind int) string { return fmt.Sprintf("3f0b1c6e-0000-4000-%d-%012d", kind, n) }
	return record{
		Type: "container", Architecture: "x86_64", Profiles: []string{"default"},
		CreatedAt: time.Unix(1e9, 0).UTC(), LastUsedAt: time.Unix(1e9, 0).UTC(),
		Devices: map[string]map[string]string{"root": {"type": "disk", "path": "/", "pool": "default"}},
		Config: map[string]string{
			"image.os": "BusyBox", "image.release": "1", "image.architecture": "x86_64", "image.description": "BusyBox",
			"volatile.base_image": strings.Repeat("f00d", 16), "volatile.last_state.power": "STOPPED", "volatile.uuid": uuid(8000),
			"volatile.idmap.base": "0", "volatile.idmap.current": "[]", "volatile.last_state.idmap": "[]", "volatile.idmap.next": "[]",
			"volatile.cloud-init.instance-id": uuid(9000),
		},
	}
}

// varied is config as the kth snapshot of an instance may find it that starts, is reconfigured and rebuilt between any two.
func varied(config map[string]string, n, k int) map[string]string {
	c := maps.Clone(config)
	maps.Copy(c, map[string]string{
		"image.serial": fmt.Sprintf("20240101_%04d", k), "limits.memory": fmt.Sprintf("%dMiB", 256+k), "user.backup.run": strconv.Itoa(k),
		"volatile.uuid.generation": fmt.Sprintf("3f0b1c6e-%04d-4000-a000-%012d", k, n), "volatile.eth0.host_name": fmt.Sprintf("veth%08x", n<<16|k),
	})
	if k%2 == 1 {
		c["volatile.last_state.power"], c["volatile.last_state.ready"] = "RUNNING", "false"
	}
	return c
}

// measured is a daemon under measurement.
type measured struct {
	cmd      *exec.Cmd
	client   *http.Client
	answered time.Duration // from its start to its first answer
}

// start runs the daemon and waits for its first answer. It may answer before all is recovered; that is what users see.
func (h *History) start(ctx context.Context, root string) (*measured, error) {
	socket := filepath.Join(root, "unix.socket")
	d := &measured{client: &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}}
	d.cmd = exec.Command(h.Daemon)
	d.cmd.Env = append(os.Environ(), "BERTH_DIR="+root)
	begin := time.Now()
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	again, limit := time.NewTicker(time.Millisecond), time.After(time.Minute)
	defer again.Stop()
	for {
		if _, _, err := d.get(ctx, "/1.0"); err == nil {
			d.answered = time.Since(begin)
			return d, nil
		}
		select {
		case <-again.C: // nobody tells when a socket appears
		case <-limit:
			return nil, errors.Join(errors.New("the daemon does not answer"), d.stop())
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), d.stop())
		}
	}
}

func (d *measured) stop() error {
	return errors.Join(d.cmd.Process.Signal(os.Interrupt), d.cmd.Wait())
}

// ask returns the median time of a request, and the size of its answer.
func (d *measured) ask(ctx context.Context, path string) (time.Duration, int64, error) {
	r := Result{}
	var size int64
	for range samples {
		took, n, err := d.get(ctx, path)
		if err != nil {
			return 0, 0, err
		}
		size, r.Took = n, append(r.Took, took)
	}
	return r.Percentile(50), size, nil
}

func (d *measured) get(ctx context.Context, path string) (time.Duration, int64, error) {
	begin := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://berth"+path, nil)
	if err != nil {
		return 0, 0, err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	size, err := io.Copy(io.Discard, resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, resp.Status)
	}
	return time.Since(begin), size, err
}

// pss is the daemon's share of the machine's memory, in units of 2^20 bytes; 0 if the kernel does not say.
func (d *measured) pss() float64 {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", d.cmd.Process.Pid))
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, _ := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			return kib / 1024
		}
	}
	return 0
}
