"""Who may search, and for what."""

from __future__ import annotations

from django.http import HttpRequest

from search.declarations import Searchable, declared

PERMISSION = "search.view_entry"


def may_search(request: HttpRequest) -> bool:
    """Seeing the index is one permission; what is found in it, another for each kind of thing."""
    return request.user.has_perm(PERMISSION) and bool(types(request))


def types(request: HttpRequest) -> dict[str, Searchable]:
    """The kinds of things this person may find: those whose rows they may view."""
    return {
        name: searchable
        for name, searchable in declared().items()
        if request.user.has_perm(f"{searchable.source._meta.app_label}.view_{searchable.source._meta.model_name}")
    }
