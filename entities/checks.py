"""What is wrong with the files of `entities/schema/`, told before anything is made of them, and with their tables."""

from __future__ import annotations

from typing import Any

from django.core import checks

from config.doctor import THERE
from config.health import Result
from entities import guarding, loader


@checks.register(checks.Tags.models)
def schema_files(**_options: Any) -> list[checks.CheckMessage]:
    """A file that cannot be used stops every command that checks; the running processes go on without its table."""
    return [
        checks.Error(str(problem), hint=problem.hint or None, obj=problem.file.name, id="entities.E001")
        for problem in loader.PROBLEMS
    ]


def tables() -> Result:
    """Is every file a table, and is every table guarded?"""
    if loader.PROBLEMS:
        told = "; ".join(str(problem) for problem in loader.PROBLEMS)
        return Result("entities", False, f"left out: {told}", "Mend the file and start again.")
    if lacking := guarding.lacking():
        return Result("entities", False, f"unguarded: {', '.join(lacking)}", "Run `manage.py migrate`.")
    return Result("entities", True, f"{len(loader.MODELS)} tables, each with lineage and row rights")


THERE.append(tables)
