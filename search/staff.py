"""What staff do to the index: everything else happens by itself."""

from __future__ import annotations

import structlog
from django.db import transaction

from config import deeds
from config.columns import clock
from search import embedding, spaces, tasks
from search.models import Space, Status

log = structlog.get_logger(__name__)


def resume(*, by: str) -> int:
    """Bring the spaces to what the settings say, end every pause, let refused texts be tried again; how many those are.

    Harmless when all is well: nothing is embedded twice.
    """
    with transaction.atomic():
        serving = spaces.ensure_current()
        living = list(Space.objects.exclude(status=Status.RETIRED))
        again = sum(embedding.try_again(space) for space in living)
        Space.objects.filter(pk__in=[space.pk for space in living]).update(
            failures=0, index_due_at=None, updated_at=clock()
        )
        told = {"spaces": [str(space) for space in living], "again": again}
        deeds.tell("search.resume", by, ("search_space", serving.pk), told)
        tasks.wake()
    log.info("search resumed", by=by, again=again)
    return again
