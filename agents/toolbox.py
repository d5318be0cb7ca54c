"""Tools in the registry: registered, changed, switched on and off, and the code behind one found."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from django.db import transaction

from agents import allowlist, audit, schemas
from agents.allowlist import ModuleRefusedError
from agents.models import Agent, Status, Tool
from agents.tools import shipped
from config.columns import clock

NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


def save(  # noqa: PLR0913  keyword-only, one per column
    name: str,
    *,
    module_path: str,
    by: str,
    description: str = "",
    schema: Mapping[str, Any] | None = None,
    agent: Agent | None = None,
    high_impact: bool = False,
) -> Tool:
    """Register a tool or change it; the same values again change nothing. What is refused is on record, too."""
    shape = dict(schema if schema is not None else NO_ARGUMENTS)
    refuse_foreign_code(name, module_path, by=by)
    schemas.check(shape)
    values = {
        "module_path": module_path,
        "description": description,
        "schema": shape,
        "agent": agent,
        "high_impact": high_impact,
    }
    with transaction.atomic():
        tool, created = Tool.objects.select_for_update(no_key=True).get_or_create(name=name, defaults=values)
        before = {} if created else {column: getattr(tool, column) for column in values}
        changed = {column: value for column, value in values.items() if created or before[column] != value}
        if not created and changed:
            Tool.objects.filter(pk=tool.pk).update(**changed, updated_at=clock())
        if changed:
            _tell("tool.create" if created else "tool.change", tool, by, before, changed)
    tool.refresh_from_db()
    return tool


def ship(*, by: str) -> list[Tool]:
    """Register the tools that come with the code, may be used and can work here; a row stays as staff left it."""
    known = set(Tool.objects.values_list("name", flat=True))
    return [
        save(tool.name, module_path=tool.module_path, by=by, description=tool.description, schema=tool.schema)
        for tool in shipped().values()
        if tool.name not in known and tool.module_path in allowlist.modules()
    ]


def switch(tool: Tool, *, on: bool, by: str) -> bool:
    """Let it be called, or not. False where nothing changed."""
    with transaction.atomic():
        changed = Tool.objects.filter(pk=tool.pk, is_active=not on).update(is_active=on, updated_at=clock())
        if changed:
            audit.record("tool.switch", by, ("tool", tool.name), before={"active": not on}, after={"active": on})
    return bool(changed)


def code_of(tool: Tool, *, by: str = "system") -> ModuleType:
    """The module behind the tool, refused where it is not on the list, however the row came to be."""
    refuse_foreign_code(tool.name, tool.module_path, by=by)
    return allowlist.load(tool.module_path)


def refuse_foreign_code(name: str, module_path: str, *, by: str) -> None:
    """Refuse a module that is not on the list, and put the refusal on record."""
    try:
        allowlist.check(module_path)
    except ModuleRefusedError:
        told = {"module_path": ascii(module_path)[:200]}
        audit.record("tool.refuse", by, ("tool", ascii(name)[1:-1][:100]), told, status=Status.REFUSED)
        raise


def _tell(action: str, tool: Tool, by: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    def told(values: Mapping[str, Any]) -> dict[str, Any]:
        return {key: str(value) if isinstance(value, Agent) else value for key, value in values.items() if key in after}

    audit.record(action, by, ("tool", tool.name), before=told(before) or None, after=told(after))
