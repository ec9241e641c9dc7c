#!/usr/bin/env python3
"""CPU time of an exec, and of a launch and removal, for several daemons in alternation: `make bench` runs it.

bench.py counts a daemon and the children that it has waited for. A helper that lives as long as its daemon is
neither; here every process below the daemon is counted, with the children that each has waited for.

    bench_cpu.py [--samples N] NAME=SOCKET...      needs the image `bb` and a pool `default` in each
"""
import argparse
import os
import statistics
import sys

sys.path.insert(0, os.environ["BENCH_TOOLS"])
from bench import Daemon, cpu_ms, helpers  # noqa: E402

BLOCK = 20  # calls between two looks at the clock of the kernel, which ticks in 10 ms


def total(daemon):
    """Milliseconds of the daemon and of its helpers. Monitors belong to init: they are not counted."""
    pid = daemon.pid()
    return sum(cpu_ms(p) for p in [pid] + helpers(pid))


def measure(daemons, samples, do):
    """Median over blocks of the CPU time of one call, by daemon."""
    found = {d.name: [] for d in daemons}
    for _ in range(samples):
        for d in daemons:
            before = total(d)
            for _ in range(BLOCK):
                do(d)
            found[d.name].append((total(d) - before) / BLOCK)
    return found


def row(label, found, names):
    medians = [statistics.median(found[n]) for n in names]
    cells = ["%.2f (%.2f-%.2f)" % (m, min(found[n]), max(found[n])) for m, n in zip(medians, names)]
    ratios = ["%.2fx" % (m / medians[0]) for m in medians[1:]] if medians[0] else []
    print("%-44s ms  " % label + "  ".join("%22s" % c for c in cells) + "  " + "  ".join(ratios))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--samples", type=int, default=8, help="blocks of %d calls" % BLOCK)
    p.add_argument("daemons", nargs="+", metavar="NAME=SOCKET")
    a = p.parse_args()
    daemons = []
    for text in a.daemons:
        d = Daemon(*text.split("=", 1))
        d.pool = "default"
        daemons.append(d)
    names = [d.name for d in daemons]
    print("CPU time, all processes of a daemon".ljust(49) + "  ".join("%22s" % n for n in names))
    name = "bench-cpu"

    def launch(d):
        d.create(name, "bb")
        d.start(name)

    def destroy(d):
        d.stop(name)
        d.delete(name)

    def cycle(d):
        launch(d)
        destroy(d)

    for d in daemons:
        cycle(d)
    row("launch + forced stop + delete", measure(daemons, max(2, a.samples // 4), cycle), names)
    for d in daemons:
        launch(d)
    try:
        row("exec true", measure(daemons, a.samples, lambda d: d.exec_true(name)), names)
    finally:
        for d in daemons:
            destroy(d)


main()
