"""What a search may be refused for."""

from __future__ import annotations


class SearchError(Exception):
    """This cannot be searched for."""

    permanent = True

    def __init__(self, message: str = "", *, field: str = "") -> None:
        super().__init__(message or self.__doc__ or "")
        self.field = field  # the argument or the filter that is wrong
