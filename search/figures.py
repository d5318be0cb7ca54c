"""What the start page tells of the search index, as last counted."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy

from config.figures import Told, count, figure, span

SEARCH, SEE = pgettext_lazy("noun", "Search"), "search.view_entry"
LONG = 60.0  # seconds a change may wait to be found


@figure(
    gettext_lazy("Found by meaning"),
    "SELECT coalesce(sum(entries), 0), coalesce(sum(embedded), 0), coalesce(sum(failed), 0), coalesce(max(failures), 0)"
    " FROM search_spaces WHERE status = 'active'",
    group=SEARCH, permission=SEE, page="admin:search_space_changelist",
)  # fmt: skip
def covered(entries: int, embedded: int, failed: int, failures: int) -> Told:
    alert = ""
    if failures:
        alert = _("The embedder does not answer, so new texts are found by words alone. Are EMBEDDINGS_* right?")
    elif failed:
        alert = _("The embedder refused %s texts: they are found by words alone.") % count(failed)
    # Rounded down: 100 % is all of them.
    return Told(f"{100 * embedded // entries} %" if entries else "–", _("of %s texts") % count(entries), alert)


@figure(
    gettext_lazy("Not yet searchable"),
    "SELECT count(*), extract(epoch FROM clock_timestamp() - min(created_at) FILTER (WHERE attempts < 3))::float8,"
    " count(*) FILTER (WHERE attempts >= 3) FROM search_pending",
    group=SEARCH, permission=SEE, page="admin:search_pending_changelist",
)  # fmt: skip
def pending(number: int, oldest: float | None, given_up: int) -> Told:
    alert = ""
    if given_up:
        text = ngettext(
            "%s text could not be indexed and was given up: it is not found. The list has the reason.",
            "%s texts could not be indexed and were given up: they are not found. The list has the reasons.",
            given_up,
        )
        alert = text % count(given_up)
    elif oldest is not None and oldest > LONG:
        alert = _("What was said %s ago cannot be found yet: does a worker run?") % span(oldest)
    note = _("the oldest for %s") % span(oldest) if oldest is not None else ""
    return Told(count(number), note or ("" if number else _("everything is indexed")), alert)
