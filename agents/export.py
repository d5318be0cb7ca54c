"""The record as a file: for a spreadsheet (CSV) or a program (JSON lines), row by row however long it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import OuterRef, QuerySet, Subquery

from agents.models import AuditEntry, AuditLink
from config import spreadsheets

COLUMNS = (
    "seq", "created_at", "action", "status", "actor", "on_behalf_of", "subject_type", "subject_id", "details",
    "git_commit", "git_branch", "request_id", "id", "hash",
)  # fmt: skip
FORMATS = ("csv", "jsonl")
AT_ONCE = 2_000


def entries(*, since: datetime | None = None) -> QuerySet[AuditEntry]:
    """The record, the oldest first."""
    found = AuditEntry.objects.order_by("id")
    return found.filter(created_at__gte=since) if since else found


def lines(found: QuerySet[AuditEntry], file_format: str) -> Iterator[str]:
    """One line per entry, with its link of the chain."""
    link = AuditLink.objects.filter(entry_id=OuterRef("pk"))
    rows = found.annotate(seq=Subquery(link.values("seq")), hash=Subquery(link.values("hash"))).values(*COLUMNS)
    if file_format == "csv":
        yield spreadsheets.line(COLUMNS)
    for row in rows.iterator(chunk_size=AT_ONCE):
        if file_format == "csv":
            yield spreadsheets.line(row[column] for column in COLUMNS)
        else:
            yield json.dumps(row, cls=DjangoJSONEncoder, ensure_ascii=False) + "\n"
