"""The tables of what can be found, one file each."""

from search.models.entry import Entry
from search.models.pending import Pending
from search.models.space import Space, Status
from search.models.unembedded import Unembedded, Wait
from search.models.walk import Walk

__all__ = ["Entry", "Pending", "Space", "Status", "Unembedded", "Wait", "Walk"]
