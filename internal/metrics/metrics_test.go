package metrics

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/cgroup"
	"github.com/berthd/berth/internal/instance"
	"github.com/berthd/berth/internal/runtime"
)

// house is a fake of the service of instances.
type house struct {
	list     []instance.Metrics
	measured int
}

func (h *house) Measure(context.Context) []instance.Metrics { h.measured++; return h.list }

func (h *house) Counts() []instance.Count {
	var counts []instance.Count
	for _, m := range h.list {
		counts = append(counts, instance.Count{Project: m.Project, Type: m.Type, N: 2})
	}
	return counts
}

func guest(project, name string) instance.Metrics {
	return instance.Metrics{
		Project: project, Name: name, Type: api.InstanceTypeContainer,
		Metrics: runtime.Metrics{
			CPUs:          []cgroup.CPUTime{{CPU: 0, User: 1_500_000_000, System: 500_000_000}, {CPU: 1}},
			EffectiveCPUs: 2,
			Disks:         []cgroup.DiskIO{{Major: 0, Minor: 77, ReadBytes: 4096, Reads: 1}},
			Memory:        cgroup.MemoryStat{ActiveAnon: 1, ActiveFile: 2, InactiveAnon: 4, InactiveFile: 8, Cached: 100, OOMKills: 3},
			MemoryUsage:   300, MemoryTotal: 1000, Processes: 7,
			Networks: map[string]api.InstanceStateNetwork{"eth0": {HostName: "veth1", Counters: api.NetworkCounters{BytesReceived: 11, PacketsDroppedInbound: 12, BytesSent: 13}}},
		},
		Root: &instance.FileSystem{Type: "ext4", Size: 30, Free: 20, Avail: 10},
	}
}

func exposed(t *testing.T, s *Service, allowed func(string) bool, server bool) string {
	t.Helper()
	var out bytes.Buffer
	encoder := expfmt.NewEncoder(&out, expfmt.NewFormat(expfmt.TypeTextPlain))
	families, err := s.Families(t.Context(), allowed, server)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if err := encoder.Encode(f); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

func TestFigures(t *testing.T) {
	h := &house{list: []instance.Metrics{guest("default", "c1"), guest("blue", "c2")}}
	s := New(Deps{
		Instances: h, Operations: func() int { return 4 }, Warnings: func() int { return 5 }, Started: time.Now().Add(-time.Hour),
		Requests: func() []Requests {
			return []Requests{{Entity: "image", Ongoing: 1, Succeeded: 2, ClientErrors: 3, Failures: 4}}
		},
	})
	all := exposed(t, s, nil, true)
	for _, want := range []string{
		`lxd_cpu_seconds_total{cpu="0",mode="system",name="c1",project="default",type="container"} 0.5`,
		`lxd_cpu_seconds_total{cpu="0",mode="user",name="c2",project="blue",type="container"} 1.5`,
		`lxd_cpu_effective_total{name="c1",project="default",type="container"} 2`,
		`lxd_disk_read_bytes_total{device="0:77",name="c1",project="default",type="container"} 4096`,
		`lxd_filesystem_avail_bytes{device="",fstype="ext4",mountpoint="/",name="c1",project="default",type="container"} 10`,
		`lxd_memory_Active_bytes{name="c1",project="default",type="container"} 3`,
		`lxd_memory_Inactive_bytes{name="c1",project="default",type="container"} 12`,
		`lxd_memory_MemFree_bytes{name="c1",project="default",type="container"} 700`,
		`lxd_memory_MemAvailable_bytes{name="c1",project="default",type="container"} 800`,
		`lxd_memory_OOM_kills_total{name="c1",project="default",type="container"} 3`,
		`lxd_network_receive_bytes_total{device="eth0",name="c1",project="default",type="container"} 11`,
		`lxd_network_receive_drop_total{device="eth0",name="c1",project="default",type="container"} 12`,
		`lxd_network_transmit_bytes_total{device="eth0",name="c1",project="default",type="container"} 13`,
		`lxd_procs_total{name="c1",project="default",type="container"} 7`,
		`lxd_instances{project="blue",type="container"} 2`,
		`lxd_api_requests_ongoing{entity_type="image"} 1`,
		`lxd_api_requests_completed_total{entity_type="image",result="succeeded"} 2`,
		`lxd_api_requests_completed_total{entity_type="image",result="error_client"} 3`,
		`lxd_api_requests_completed_total{entity_type="image",result="error_server"} 4`,
		`lxd_operations_total 4`, `lxd_warnings_total 5`, `lxd_uptime_seconds 36`, `lxd_go_goroutines `,
	} {
		if !strings.Contains(all, "\n"+want) {
			t.Errorf("missing: %s", want)
		}
	}
	if strings.Count(all, "# TYPE lxd_cpu_seconds_total counter\n") != 1 {
		t.Error("a family stands twice")
	}
	one := exposed(t, s, func(project string) bool { return project == "blue" }, false)
	if !strings.Contains(one, `project="blue"`) || strings.Contains(one, `project="default"`) || strings.Contains(one, "lxd_go_") || strings.Contains(one, "lxd_operations") {
		t.Error(one)
	}
}

// The linter of promtool has nothing to say but of the names, which are LXD's.
func TestTheLinterOfPrometheus(t *testing.T) {
	s := New(Deps{Instances: &house{list: []instance.Metrics{guest("default", "c1")}}, Operations: func() int { return 0 }, Warnings: func() int { return 0 }, Started: time.Now()})
	problems, err := promlint.New(strings.NewReader(exposed(t, s, nil, true))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if !strings.Contains(p.Text, "_total\" suffix") && !strings.Contains(p.Text, "snake_case") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// Several who scrape at short intervals cost one reading, and no figure is older than fresh.
func TestFiguresAreReadOnceForAll(t *testing.T) {
	h := &house{list: []instance.Metrics{guest("default", "c1")}}
	s := New(Deps{Instances: h})
	now := time.Unix(0, 0)
	s.now = func() time.Time { return now }
	for _, step := range []struct {
		after    time.Duration
		measured int
	}{{0, 1}, {time.Second, 1}, {fresh - time.Second, 2}, {fresh - 1, 2}, {1, 3}} {
		now = now.Add(step.after)
		if exposed(t, s, nil, false); h.measured != step.measured {
			t.Errorf("at %s: %d readings, want %d", now, h.measured, step.measured)
		}
	}
}

// What a guest calls its interfaces, and how many it makes, is its own matter: the figures of others stay readable.
func TestInterfacesOfAHostileGuest(t *testing.T) {
	bad := guest("default", "bad")
	for n := range 1000 {
		bad.Networks[fmt.Sprint("a", n)] = api.InstanceStateNetwork{}
	}
	bad.Networks["\xff\"\n\\"] = api.InstanceStateNetwork{HostName: "veth2"}
	s := New(Deps{Instances: &house{list: []instance.Metrics{bad, guest("default", "good")}}})
	all := exposed(t, s, nil, false)
	if !utf8.ValidString(all) {
		t.Error("the text is no UTF-8")
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(all))
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	for _, m := range families["lxd_network_receive_bytes_total"].GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if labels["name"] == "bad" {
			shown = append(shown, labels["device"])
		}
	}
	if len(shown) != maxInterfaces || !slices.Contains(shown, "eth0") || !slices.Contains(shown, `\xff\"\n\\`) {
		t.Errorf("%d: %q", len(shown), shown)
	}
	if n := len(families["lxd_procs_total"].GetMetric()); n != 2 {
		t.Errorf("%d instances", n)
	}
}
