"""Every table of the room: one per file of `entities/schema/`, whatever lies there, and their lineage."""

from entities import loader
from entities.models.entity_change import Action, EntityChange, Writer

loader.load()

__all__ = ["Action", "EntityChange", "Writer"]
