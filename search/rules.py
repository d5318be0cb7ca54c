"""What the database holds of the index, by name (config/rules.py)."""

from collections.abc import Iterator

from config import rules
from config.rules import Rule, declare
from search import declarations
from search.watching import WATCHING

declare("search_index", triggers=["search_index_default_space"], unique=["search_index_one_per_chunk"])
declare("search_spaces", unique=["search_spaces_one_active", "search_spaces_one_building"])


def watched() -> Iterator[Rule]:
    """On every table that others declared."""
    for searchable in declarations.declared().values():
        yield from rules.of(searchable.table, triggers=WATCHING)


rules.LATER.append(watched)
