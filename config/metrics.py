"""The numbers of /metrics, counted by PostgreSQL when they are asked for, so that every process tells the same.

Each room declares its numbers as one query: the value comes first, label values behind it.
"""

import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import LiteralString

import structlog
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily

from config.probes import Held

log = structlog.get_logger(__name__)

Family = GaugeMetricFamily | CounterMetricFamily | SummaryMetricFamily
Kind = type[GaugeMetricFamily] | type[CounterMetricFamily]
QUANTILE = "quantile"


@dataclass(frozen=True)
class Number:
    """One metric: its name, what it says, and the query that answers it. With the label `quantile` it is a summary."""

    name: str
    says: str
    query: LiteralString
    labels: Sequence[str] = ()
    kind: Kind = GaugeMetricFamily

    def measure(self) -> Family:
        is_summary = QUANTILE in self.labels
        family: Family = (SummaryMetricFamily if is_summary else self.kind)(self.name, self.says, labels=self.labels)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(self.query)
            for value, *labels in cursor.fetchall():
                texts = [str(label) for label in labels]
                if isinstance(family, SummaryMetricFamily):  # of a window: its sum and count would be no counters
                    family.add_sample(self.name, dict(zip(self.labels, texts, strict=True)), float(value or 0))
                else:
                    family.add_metric(texts, float(value or 0))
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
_exposition = Held(lambda: generate_latest(REGISTRY))


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Everything in the text format of Prometheus; with METRICS_TOKEN only for who sends it."""
    if not _may_read(request):
        body = {"error": "invalid_key", "detail": "Send `Authorization: Bearer <METRICS_TOKEN>`."}
        return JsonResponse(body, status=401, headers={"WWW-Authenticate": 'Bearer realm="parley"'})
    return HttpResponse(_exposition.get(), content_type=CONTENT_TYPE_LATEST)


def _may_read(request: HttpRequest) -> bool:
    expected = f"Bearer {settings.METRICS_TOKEN}".encode()
    offered = request.headers.get("Authorization", "").encode()
    return not settings.METRICS_TOKEN or hmac.compare_digest(offered, expected)
