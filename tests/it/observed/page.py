"""Reads Prometheus text on standard input with Prometheus' own parser; prints what it found as JSON."""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

found = [
    {
        "name": family.name,
        "type": family.type,
        "help": family.documentation,
        "samples": [{"name": it.name, "labels": it.labels, "value": float(it.value)} for it in family.samples],
    }
    for family in text_string_to_metric_families(sys.stdin.read())
]
print(json.dumps(found))
