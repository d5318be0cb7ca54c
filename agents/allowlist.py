"""Which code a tool may be: modules of the allowlisted packages, known by their files and by nothing a row says."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

from django.conf import settings


class ModuleRefusedError(Exception):
    """The module is not one that tools may be."""

    permanent = True


def modules() -> frozenset[str]:
    """Every module a tool may name."""
    return _found(tuple(settings.AGENT_TOOL_PACKAGES))


def check(module_path: str) -> None:
    """Refuse whatever is not on the list; nothing is imported to find out."""
    if module_path not in modules():
        known = ", ".join(sorted(modules())) or "none"
        raise ModuleRefusedError(f"module_path: {module_path[:80]!r} is refused; allowed: {known}.")


def load(module_path: str) -> ModuleType:
    """The module itself, checked again: a row may have been written past every check."""
    check(module_path)
    return import_module(module_path)


def missing_packages() -> list[str]:
    """Packages that the setting names and that are not installed."""
    return [package for package in settings.AGENT_TOOL_PACKAGES if _spec(package) is None]


def _spec(package: str) -> ModuleSpec | None:
    try:
        return find_spec(package)
    except (ImportError, ValueError):  # of a package above it
        return None


@cache  # files do not change while the process runs
def _found(packages: tuple[str, ...]) -> frozenset[str]:
    return frozenset(
        f"{package}.{module.name}"
        for package in packages
        if (spec := _spec(package)) is not None
        for module in pkgutil.iter_modules(spec.submodule_search_locations)
        if not module.ispkg and not module.name.startswith("_")
    )
