"""What the database holds of the tables that grow, by name (config/rules.py)."""

from collections.abc import Iterator

from django.db.models import UniqueConstraint

from config import rules
from config.rules import Rule, declare
from entities import guarding, loader

declare("entity_changes", triggers=["entity_changes_keep_all", "entity_changes_write_once"])
declare("schema_changes", unique=["schema_changes_one_applies"])
declare("backups", unique=["backups_named_once"])


def grown() -> Iterator[Rule]:
    """On every table of `entities/schema/`."""
    for table, model in loader.MODELS.items():
        unique = [each.name for each in model._meta.constraints if isinstance(each, UniqueConstraint)]
        yield from rules.of(table, triggers=guarding.TRIGGERS, unique=unique)


rules.LATER.append(grown)
