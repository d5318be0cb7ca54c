"""The rules of the database by name: triggers and unique indexes that hold a promise. Every room declares its own.

    declare("messages", triggers=["messages_number"], unique=["messages_one_per_index"])

Whoever owns the tables can take one away, and nothing else tells: `manage.py doctor` and the start page look here.
Tables that are known only while we run, as those that are searched or were grown, come from a function in `LATER`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from django.db import connection
from django.utils.translation import gettext as _

from config.health import NOTICES, Result


class Rule(NamedTuple):
    """One of them; `kind` is `trigger` or `unique`."""

    table: str
    name: str
    kind: str

    def __str__(self) -> str:
        return f"{self.table}.{self.name}"


RULES: set[Rule] = set()
LATER: list[Callable[[], Iterable[Rule]]] = []
STANDING = """
SELECT rule.* FROM unnest(%s::text[], %s::text[], %s::text[]) AS rule (tab, name, kind)
WHERE EXISTS (SELECT FROM pg_trigger WHERE rule.kind = 'trigger' AND tgname = rule.name
        AND tgrelid = to_regclass(quote_ident(rule.tab)) AND tgenabled IN ('O', 'A'))
    OR EXISTS (SELECT FROM pg_index WHERE rule.kind = 'unique' AND indexrelid = to_regclass(quote_ident(rule.name))
        AND indrelid = to_regclass(quote_ident(rule.tab)) AND indisunique AND indisvalid)
"""


def declare(table: str, *, triggers: Iterable[str] = (), unique: Iterable[str] = ()) -> None:
    RULES.update(of(table, triggers=triggers, unique=unique))


def of(table: str, *, triggers: Iterable[str] = (), unique: Iterable[str] = ()) -> list[Rule]:
    """The same as values, for a function in `LATER`."""
    return [Rule(table, name, "trigger") for name in triggers] + [Rule(table, name, "unique") for name in unique]


def declared() -> set[Rule]:
    """Those of all rooms."""
    return RULES.union(*(later() for later in LATER))


def standing() -> set[Rule]:
    """Those that the database has, and has switched on."""
    columns = [list(column) for column in zip(*sorted(declared()), strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(STANDING, columns)
        return {Rule(*row) for row in cursor.fetchall()}


def rules() -> Result:
    """Does the database still refuse what must not happen?"""
    wanted = declared()
    if gone := sorted(map(str, wanted - standing())):
        detail = _("missing or switched off: %(names)s") % {"names": ", ".join(gone)}
        return Result("rules", False, detail, _("Taken away by hand: make them again as the migrations do."))
    return Result("rules", True, _("triggers and unique indexes in place: %d") % len(wanted))


NOTICES.append(rules)

declare("queue_tasks", unique=["queue_tasks_one_waits"])
declare("queue_minutes", unique=["queue_minutes_one_row"])
declare("otp_totp_totpdevice", unique=["one_second_factor"])
