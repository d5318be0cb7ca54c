"""What happened, as those saw it who stand outside: one JSON line per event, on disk before the event goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class History:
    """Appended to by several processes and threads at once; one line is one write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, what: str, **details: Any) -> None:
        """`invoke` before an attempt; `ok`, `fail` (it surely did not happen) or `info` (nobody knows) after it."""
        os.write(self._file, (json.dumps({"what": what, **details}) + "\n").encode())
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)

    def events(self, of: str) -> Iterator[dict[str, Any]]:
        """Everything said by `of`: the writers or the model."""
        with self.path.open() as lines:
            for line in lines:
                event = json.loads(line)
                if event["by"] == of:
                    yield event
