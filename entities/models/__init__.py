"""Every table of the room: one per file of `entities/schema/`, whatever lies there, their lineage, and backups."""

from entities import loader
from entities.models.backup import Backup
from entities.models.entity_change import Action, EntityChange, Writer
from entities.models.schema_change import SchemaChange

loader.load()

__all__ = ["Action", "Backup", "EntityChange", "SchemaChange", "Writer"]
