"""What was read and not stored: kept with its reason, and tried again on somebody's word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from uuid import UUID

from django.db import connection

from agents.forgetting import Gone
from conversations import erasure
from conversations.legacy.cleaning import escaped
from conversations.legacy.records import NOTHING, Broken, Record
from conversations.legacy.talks import Talk
from conversations.models import ImportReject

KEPT = 1_000_000  # characters of what was read; of more only the beginning
BEGINNING = 10_000


def keep(batch: UUID, rejects: list[Broken], talks: Mapping[str, Talk]) -> None:
    """Store them with the chunk they were in."""
    made = []
    for broken in rejects:
        raw = broken.raw.as_json() if isinstance(broken.raw, Record) else broken.raw
        payload = "" if raw is NOTHING else escaped(raw)
        whole = len(payload) <= KEPT
        made.append(
            ImportReject(
                batch_id=batch, chat_id=talks[broken.chat.key].chat if broken.chat else None, place=broken.place[:200],
                reason=broken.reason, detail=_visible(broken.detail), payload=payload if whole else payload[:BEGINNING],
                whole=whole and raw is not NOTHING,
            )
        )  # fmt: skip
    ImportReject.objects.bulk_create(made, batch_size=1_000)


FORGET = """
DELETE FROM import_rejects USING import_chats AS chat
WHERE chat_id = chat.id AND chat.conversation_id = ANY(%s) RETURNING chat.conversation_id
"""


def forget(ids: Sequence[UUID], _turns: Mapping[UUID, UUID]) -> Gone:
    """Whoever has a conversation erased means what was not stored of it, too."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET, [list(ids)])
        return Counter(id_ for (id_,) in cursor.fetchall())


erasure.FORGET["import_rejects"] = forget


def _visible(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
