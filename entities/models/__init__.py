"""Every table of the room: one per file of `entities/schema/`, whatever lies there."""

from entities import loader

loader.load()
