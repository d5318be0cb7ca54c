"""Sees what the interpreter opens, imports and executes, however it was asked to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

WATCHED = {"open", "import", "exec", "compile", "os.system", "subprocess.Popen", "os.listdir", "os.scandir"}
_seen: list[tuple[str, str]] | None = None
_installed = False


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _seen is not None and event in WATCHED:
        _seen.append((event, str(args[0]) if args else ""))


@contextmanager
def watching() -> Iterator[list[tuple[str, str]]]:
    """What happened within the block, as (event, first argument). A hook cannot be taken away, only be made deaf."""
    global _seen, _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    _seen = found = []
    try:
        yield found
    finally:
        _seen = None
