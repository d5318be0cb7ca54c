"""What was read and not stored: kept with its reason, and tried again on somebody's word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from conversations import erasure
from conversations.legacy.cleaning import escaped
from conversations.legacy.records import Broken, Record
from conversations.legacy.talks import Talk
from conversations.models import ImportReject

KEPT = 1_000_000  # characters of what was read; of more only the beginning
BEGINNING = 10_000


def keep(batch: UUID, rejects: list[Broken], talks: Mapping[str, Talk]) -> None:
    """Store them with the chunk they were in."""
    made = []
    for broken in rejects:
        raw = broken.raw.as_json() if isinstance(broken.raw, Record) else broken.raw
        payload = "" if raw is None else escaped(raw)
        whole = len(payload) <= KEPT
        made.append(
            ImportReject(
                batch_id=batch, chat_id=talks[broken.chat.key].chat if broken.chat else None, place=broken.place[:200],
                reason=broken.reason, detail=_visible(broken.detail), payload=payload if whole else payload[:BEGINNING],
                whole=whole and broken.raw is not None,
            )
        )  # fmt: skip
    ImportReject.objects.bulk_create(made, batch_size=1_000)


def forget(conversation_id: UUID, _turn_ids: Sequence[UUID]) -> int:
    """Whoever has a conversation erased means what was not stored of it, too."""
    return ImportReject.objects.filter(chat__conversation=conversation_id).delete()[0]


erasure.FORGET["import_rejects"] = forget


def _visible(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
