"""What the queue's benchmarks share: Django set up for the world they run in, and rows to report."""

import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def row(name: str, value: float, unit: str, reach: str, peer: str) -> dict[str, Any]:
    return {"name": name, "value": round(value, 2), "unit": unit, "reach": reach, "peer": peer}


def show(rows: list[dict[str, Any]]) -> None:
    for entry in rows:
        print(f"{entry['name']:58} {entry['value']:>10} {entry['unit']:8} {entry['reach']:10} {entry['peer']}")
