"""How much memory an import of a large source takes: `python -m benchmarks importing_memory`.

`IMPORT_MEGABYTES` (300) is the size of the file; the reach is set for 2,000. The process that imports is measured, and
tells the most it ever held.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.rounds import Row, row

SAID = "Сколько стоит поездка, о которой мы говорили? " * 10
BRING = """
import resource, sys, django
django.setup()
from benchmarks.importing import bring
bring(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def run(quick: bool = False) -> list[Row]:
    megabytes = 5 if quick else int(os.environ.get("IMPORT_MEGABYTES", "300"))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("old.jsonl", "old.json"):
            path = Path(folder) / name
            written(path, megabytes)
            command = [sys.executable, "-c", BRING, str(path)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            most = float(done.stdout.splitlines()[-1])
            rows.append(row(f"most memory for {megabytes} MB in {name}", most, "MB", "<= 300"))
            path.unlink()
    return rows


def written(path: Path, megabytes: int) -> None:
    """Conversations of forty messages: one a line, or all in one array on one line."""
    talk = [{"role": ("user", "assistant")[n % 2], "content": f"{SAID}{n}", "timestamp": 1.7e9 + n} for n in range(40)]
    lines, size, number = path.suffix == ".jsonl", 0, 0
    with path.open("w", encoding="utf-8") as file:
        file.write("" if lines else "[")
        while size < megabytes * 1_000_000:
            text = json.dumps({"id": f"{path.suffix}{number}", "messages": talk}, ensure_ascii=False)
            file.write(text + "\n" if lines else ("," if number else "") + text)
            size, number = size + len(text.encode()), number + 1
        file.write("" if lines else "]")
