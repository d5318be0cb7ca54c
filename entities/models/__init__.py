"""Every table of the room: one per file of `entities/schema/`, whatever lies there."""

from entities import loader
from entities.models.backup import Backup

loader.load()

__all__ = ["Backup"]
