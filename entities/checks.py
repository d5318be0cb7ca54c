"""What is wrong with the files of `entities/schema/`, told before anything is made of them."""

from __future__ import annotations

from typing import Any

from django.core import checks

from entities import loader


@checks.register(checks.Tags.models)
def schema_files(**_options: Any) -> list[checks.CheckMessage]:
    """A file that cannot be used stops every command that checks; the running processes go on without its table."""
    return [
        checks.Error(str(problem), hint=problem.hint or None, obj=problem.file.name, id="entities.E001")
        for problem in loader.PROBLEMS
    ]
