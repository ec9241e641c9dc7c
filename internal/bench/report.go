package bench

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

// Print tells a person how a run went.
func Print(out io.Writer, action string, r Result) {
	ms := func(p int) float64 { return float64(r.Percentile(p).Microseconds()) / 1000 }
	fmt.Fprintf(out, "%s: %d containers in %.3f s, %.1f/s, %d failed or lost\n", action, r.Count, r.Elapsed.Seconds(),
		float64(r.Count)/max(r.Elapsed.Seconds(), 1e-9), r.Failed)
	fmt.Fprintf(out, "one of them: median %.1f ms, 90 %% within %.1f, 99 %% within %.1f, longest %.1f\n", ms(50), ms(90), ms(99), ms(100))
	if n := len(r.Ended); n >= 200 {
		first, last := r.Rate(0, 100), r.Rate(n-100, n)
		fmt.Fprintf(out, "rate of the first hundred %.1f/s, of the last hundred %.1f/s, last / first %.2f\n", first, last, last/first)
	}
}

// PrintMemory tells what a run changed, for each of count containers.
func PrintMemory(out io.Writer, before, after Memory, count int) {
	if before.Available == 0 || after.Available == 0 || count == 0 {
		return
	}
	machine := before.Available - after.Available
	fmt.Fprintf(out, "memory: %+d KiB of the machine's in use, %+d a container", machine, machine/count)
	if before.Daemon > 0 && after.Daemon > 0 {
		fmt.Fprintf(out, "; daemon %d KiB, %d before", after.Daemon, before.Daemon)
	}
	if after.Monitors > 0 {
		fmt.Fprintf(out, "; %d monitors of %d KiB each", after.Monitors, after.MonitorKiB/after.Monitors)
	}
	fmt.Fprintln(out)
}

// reportHeader is the first line of lxd-benchmark's reports (5.0.2), which are those of JMeter.
var reportHeader = []string{"timeStamp", "elapsed", "label", "responseCode", "success"}

// Report appends a run to a CSV file, which is made if it is missing: as lxd-benchmark writes it, with the time at the end of
// the run and its length in milliseconds.
func Report(path, label string, r Result) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	w := csv.NewWriter(file)
	if info.Size() == 0 {
		_ = w.Write(reportHeader) // an error stays with the writer
	}
	_ = w.Write([]string{
		strconv.FormatInt(time.Now().UnixMilli(), 10), strconv.FormatInt(r.Elapsed.Milliseconds(), 10), label, "",
		strconv.FormatBool(r.Failed == 0),
	})
	w.Flush()
	return errors.Join(w.Error(), file.Close())
}
