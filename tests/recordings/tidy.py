#!/usr/bin/env python3
"""Keeps of a raw recording what is of the cluster, and nothing of the machine it ran on.

    tidy.py TITLE RAW OUT DIR

What else runs on the machine is no part of the fault: what the kernel says of processes outside
the cluster is left out. Paths below DIR, where the cluster keeps its files, get the names that they
have on a usual node. Order of arrival, ids and times stay.
"""

import json
import sys


def main(title, raw, out, directory):
    usual = {
        f"{directory}/node/kubelet": "/var/lib/kubelet",
        f"{directory}/node/containerd": "/var/lib/containerd",
        directory: "/var/lib",
    }
    with open(raw) as lines, open(out, "w") as tidy:
        header = json.loads(next(lines))
        write(tidy, {**header, "title": title})
        for line in lines:
            for path, name in usual.items():
                line = line.replace(path, name)
            event = json.loads(line)
            if event["source"] == "kubernetes" or "namespace" in event["place"]:
                write(tidy, event)


def write(file, line):
    file.write(json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n")


main(*sys.argv[1:])
