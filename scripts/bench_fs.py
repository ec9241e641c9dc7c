#!/usr/bin/env python3
"""Sums up what bench.py measured on several file systems: bench_fs.py KIND.json ..."""

import json
import os
import sys

ROWS = [("launch", ("d12_create", "d12_start")), ("snapshot", ("d12_snap",)), ("copy", ("d12_copy",)), ("delete", ("d12_delete",))]


def samples(results, keys, daemon):
    """The samples of a daemon, of several measures added up."""
    return [sum(v) for v in zip(*(results[k]["daemons"][daemon]["samples"] for k in keys))]


def main():
    print("Debian 12, ms          lxd first  berth first   ratio    lxd later  berth later   ratio")
    for path in sys.argv[1:]:
        kind = os.path.basename(path).removesuffix(".json")
        with open(path) as f:
            results = json.load(f)["results"]
        for label, keys in ROWS:
            lxd, berth = samples(results, keys, "lxd"), samples(results, keys, "berth")
            line = "%-6s %-10s" % (kind, label)
            for i in (0, -1):
                line += "  %12.0f %12.1f  %5.2fx" % (lxd[i], berth[i], berth[i] / lxd[i])
            print(line)


if __name__ == "__main__":
    main()
