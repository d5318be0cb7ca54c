"""What /metrics and `manage.py doctor` tell of the index. Numbers as last counted: a scrape must not read it all."""

from django.db import connection
from django.utils.translation import gettext as _

from config import doctor
from config.health import Result
from config.metrics import NUMBERS, Number
from search import coverage as counted
from search import spaces, vector_index

LIVING = "FROM search_spaces WHERE status <> 'retired'"

NUMBERS += [
    Number(
        "parley_search_entries",
        "Entries of the search index, by space and by what became of their vector.",
        "SELECT number, model, status, what FROM (SELECT * " + LIVING + ") AS s,"
        " unnest(ARRAY[embedded, pending, failed], ARRAY['embedded', 'pending', 'failed']) AS n (number, what)",
        labels=["model", "space", "vector"],
    ),
    Number(
        "parley_search_rows_waiting",
        "Changed rows that are not in the index yet.",
        "SELECT count(*) FROM search_pending",
    ),
    Number(
        "parley_search_rows_refused",
        "Changed rows whose indexing failed and was given up: manage.py reindex tries again.",
        "SELECT count(*) FROM search_pending WHERE attempts >= 3",
    ),
    Number(
        "parley_search_lag_seconds",
        "Age of the oldest changed row that is not in the index yet.",
        "SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) FROM search_pending",
    ),
    Number(
        "parley_search_embedder_failures",
        "Calls of the embedder that failed in a row, by space.",
        "SELECT failures, model " + LIVING,
        labels=["model"],
    ),
]


def vectors() -> Result:
    """Has every space in use a valid index of its vectors?"""
    space = spaces.serving()
    if space is None or not space.dimensions:
        return Result("vectors", True, _("no embedder yet: search by word"))
    valid, running, share = vector_index.state(space)
    known = {"space": space, "embedded": space.embedded, "entries": space.entries}
    told = _("%(space)s: %(embedded)d of %(entries)d embedded") % known
    next_ = spaces.building()
    if next_ is not None and (reason := next_.error if next_.failures else next_.index_error):
        told += ". " + _("%(space)s cannot be built: %(reason)s") % {"space": next_, "reason": reason}
        return Result("vectors", False, told, _("The former vectors answer. Are EMBEDDINGS_* right?"))
    if valid:
        return Result("vectors", True, told)
    if space.index_error:
        told += ". " + _("The index cannot be built: %s") % space.index_error
        return Result("vectors", False, told, _("It is tried again; `manage.py reindex` tries at once."))
    if running:
        return Result("vectors", True, told + _(", index being built (%d %%)") % round(100 * share))
    fix = _("Is a worker running? `manage.py reindex` builds it.")
    return Result("vectors", False, told + _(", no valid index"), fix)


doctor.THERE.append(vectors)


FOLDS = "SELECT to_tsvector('russian', 'ДОМ') = to_tsvector('russian', 'дом')"


def letters() -> Result:
    """Does the database know that capital letters of other alphabets are letters of words?"""
    with connection.cursor() as cursor:
        cursor.execute(FOLDS)
        (folds,) = cursor.fetchone()
    if folds:
        return Result("letters", True, _("capital and small letters are found alike"))
    told = _("its LC_CTYPE knows no letters but a to z: words in other alphabets are found only as they are written")
    return Result("letters", False, told, _("Restore a backup into a database created with LC_CTYPE C.UTF-8."))


doctor.THERE.append(letters)


def coverage() -> Result:
    """Is what can be found embedded, or on its way there? For the start page."""
    space, numbers = spaces.serving(), counted.of(spaces.serving())
    counted_as = {"entries": numbers.entries, "embedded": numbers.embedded, "pending": numbers.pending}
    told = _("entries: %(entries)d, embedded: %(embedded)d, waiting: %(pending)d") % counted_as
    if numbers.failed:
        told += _(", refused: %d") % numbers.failed
        return Result("search", False, told, _("Refused texts are found by words only."))
    if space is not None and space.failures:
        return Result(
            "search",
            False,
            f"{told}. {_('The embedder fails: %s') % space.error}",
            _("Is it up, and are EMBEDDINGS_* right?"),
        )
    return Result("search", True, told)
