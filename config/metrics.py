"""The numbers of /metrics, counted by PostgreSQL when they are asked for, so that every process tells the same.

Each room declares its numbers as one query: the value comes first, label values behind it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import LiteralString

import structlog
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

log = structlog.get_logger(__name__)

Family = GaugeMetricFamily | CounterMetricFamily


@dataclass(frozen=True)
class Number:
    """One metric: its name, what it says, and the query that answers it."""

    name: str
    says: str
    query: LiteralString
    labels: Sequence[str] = ()
    kind: type[Family] = GaugeMetricFamily

    def measure(self) -> Family:
        family = self.kind(self.name, self.says, labels=self.labels)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(self.query)
            for value, *labels in cursor.fetchall():
                family.add_metric([str(label) for label in labels], float(value or 0))
        return family


NUMBERS: list[Number] = [
    Number("parley_database_bytes", "Size of the database.", "SELECT pg_database_size(current_database())"),
    Number(
        "parley_database_connections",
        "Connections to the database by state.",
        "SELECT count(*), coalesce(state, 'background') FROM pg_stat_activity"
        " WHERE datname = current_database() GROUP BY 2",
        labels=["state"],
    ),
]


class _Numbers:
    """Asks every number in turn; one that fails is logged and left out, the others are told."""

    def collect(self) -> Iterator[Family]:
        up = GaugeMetricFamily("parley_up", "1 while the database answers every number.", value=1)
        for number in NUMBERS:
            try:
                yield number.measure()
            except DatabaseError as error:
                log.error("metric unavailable", metric=number.name, reason=type(error).__name__)
                up = GaugeMetricFamily("parley_up", "1 while the database answers every number.", value=0)
        yield up


REGISTRY = CollectorRegistry(auto_describe=False)
REGISTRY.register(_Numbers())


@never_cache
@require_safe
def metrics(_request: HttpRequest) -> HttpResponse:
    """Everything in the text format of Prometheus."""
    return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)
