"""Search as staff see it: spaces with their progress, and the rows of the index, read only."""

from search.admin.entry import EntryAdmin
from search.admin.space import SpaceAdmin
from search.admin.waiting import PendingAdmin, UnembeddedAdmin

__all__ = ["EntryAdmin", "PendingAdmin", "SpaceAdmin", "UnembeddedAdmin"]
