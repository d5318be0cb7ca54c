"""Tools in the registry: registered, changed, switched on and off, and the code behind one found."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from agents import allowlist, audit, schemas
from agents.allowlist import ModuleRefusedError
from agents.models import Agent, Status, Tool
from agents.tools import TOOLS
from agents.tools import Tool as Declared
from config.columns import clock
from config.health import Result

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
    """Register each tool of AGENT_TOOL_PACKAGES that can work here; a row stays as staff left it."""
    _import_all()
    known, allowed = set(Tool.objects.values_list("name", flat=True)), allowlist.modules()
    return [
        save(tool.name, module_path=tool.module_path, by=by, description=tool.description, schema=tool.schema)
        for tool in TOOLS.values()
        if tool.name not in known and tool.module_path in allowed and tool.available()
    ]


def problems() -> list[str]:
    """Tools that no agent can call, and why: missing packages, broken modules, rows that name what is not declared."""
    missing = [f"AGENT_TOOL_PACKAGES: there is no package {package}" for package in allowlist.missing_packages()]
    broken = _import_all()
    rows = Tool.objects.filter(is_active=True).exclude(module_path__in=broken).values_list("name", "module_path")
    undeclared = [
        f"{name}: {module_path} declares no tool of this name"
        for name, module_path in rows
        if name not in TOOLS or TOOLS[name].module_path != module_path
    ]
    return [*missing, *(f"{module}: {reason}" for module, reason in sorted(broken.items())), *undeclared]


def tools() -> Result:
    """Check of `manage.py doctor`: each registered tool can be called."""
    if found := problems():
        return Result("tools", False, "; ".join(found), _("Mend the module, or switch the tool off in the admin."))
    return Result("tools", True, _("all can be imported"))


def schema_of(row: Tool, tool: Declared) -> dict[str, Any]:
    """Arguments as the code declares them, unless the row names some itself."""
    named = row.schema and any(key not in ("type", "additionalProperties") and row.schema[key] for key in row.schema)
    return dict(row.schema) if named else tool.schema


def _import_all() -> dict[str, str]:
    """Import every module a tool may be; those that cannot be, with the reason."""
    broken = {}
    for module_path in sorted(allowlist.modules()):
        try:
            allowlist.load(module_path)
        except Exception as error:  # whatever somebody's module does when it is imported
            broken[module_path] = f"{type(error).__name__}: {error}"[:300]
    return broken


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
