"""Where the page of a thing is, for rooms that do not know the room it lives in: a turn, a message, a conversation."""

from __future__ import annotations

from django.urls import reverse

_PAGES: dict[str, str] = {}  # what it is -> the URL that takes its id


def register(kind: str, url_name: str) -> None:
    """Tell where things of a kind are looked at."""
    _PAGES[kind] = url_name


def page_of(kind: str, id_: object) -> str:
    """Its address; empty where nobody told, or there is no id."""
    return reverse(_PAGES[kind], args=[id_]) if id_ and kind in _PAGES else ""
