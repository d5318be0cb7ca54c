"""What a migration would do, seen on a copy: nothing may be lost, and how long it took is told."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from config.env import ROOT
from entities import backup, measures, postgres
from entities.backup import Manifest
from entities.restoring import measured_in, scratch


@dataclass
class Rehearsal:
    """How it went."""

    restored: bool = False  # is the copy what was dumped?
    seconds: float = 0.0  # the migration alone
    tables: int = 0
    rows: int = 0
    lost: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    said: str = ""
    error: str = ""

    @property
    def ok(self) -> bool:
        return self.restored and not self.lost and not self.error

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.ok}

    def told(self) -> str:
        if not self.ok:
            return f"The rehearsal failed: {self.error or '; '.join(self.lost) or 'the copy differs from the dump'}"
        noted = f"; rows changed in {', '.join(self.changed)}" if self.changed else ""
        return f"Rehearsed on a copy of {self.rows} rows in {self.seconds:.1f} s: nothing was lost{noted}."


def rehearse(found: Manifest, arguments: Sequence[str], *, folder: Path = ROOT) -> Rehearsal:
    """Restore the dump, compare, migrate the copy with the code in `folder`, and compare again."""
    told = Rehearsal(tables=len(found.measures), rows=found.rows)
    with scratch(backup.dump_of(found)) as database:
        before = found.measured()
        different = measures.differences(before, measured_in(database))
        told.restored = not different
        if different:
            told.error = f"the copy is not what was dumped: {'; '.join(different[:5])}"
            return told
        begun = time.monotonic()
        done = postgres.manage("migrate", *arguments, "--rehearsing", database=database, folder=folder)
        told.seconds = round(time.monotonic() - begun, 1)
        told.said = done.stdout[-2000:]
        if done.returncode:
            told.error = _reason(done.stderr)
            return told
        with postgres.connect(database) as there:
            names = {table: measure.columns for table, measure in before.items()}
            after = measures.take(there, names)
        told.lost = measures.lost(before, after)
        told.changed = [one for one in measures.changed(before, after) if not one.endswith(".django_migrations")]
    return told


def _reason(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return " | ".join(lines[-4:])[-1500:] or "it ended without a word"
