"""What did not surely arrive: staff say what of it, and everybody can see that it waits for them to."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.utils.translation import gettext as _

from agents import audit
from config.health import Result
from conversations import buffering, outbox
from conversations.errors import NothingToDecideError
from conversations.models import Delivery, DeliveryStatus, Message

logger = structlog.get_logger(__name__)

STUCK = 300  # seconds a part may wait after the message was said
FORGIVEN = "1 day"  # a failure nobody decided on is told for so long; it stays in the list

# Sent anew from the first part that did not arrive: what comes behind it failed only because of it, or waits.
RESEND = """
UPDATE deliveries SET status = 'pending', generation = generation + 1, attempts = 0, error = '', slot_at = NULL,
    next_attempt_at = clock_timestamp(), resolved_at = NULL, resolved_by = '', updated_at = clock_timestamp()
WHERE id = %(id)s OR (message_id = %(message)s AND part > %(part)s AND status = 'failed' AND attempts = 0)
"""
ARRIVED = """
UPDATE deliveries SET status = 'sent', generation = generation + 1, resolved_at = clock_timestamp(),
    resolved_by = %(by)s, updated_at = clock_timestamp()
WHERE id = %(id)s
"""
GIVE_UP = """
UPDATE deliveries SET status = 'failed', generation = generation + 1, resolved_at = clock_timestamp(),
    resolved_by = %(by)s, updated_at = clock_timestamp()
WHERE id = %(id)s OR (message_id = %(message)s AND part > %(part)s AND status IN ('pending', 'failed'))
"""
DECIDED = {
    "resend": (RESEND, (DeliveryStatus.UNKNOWN, DeliveryStatus.FAILED)),
    "arrived": (ARRIVED, (DeliveryStatus.UNKNOWN,)),
    "give_up": (GIVE_UP, (DeliveryStatus.UNKNOWN, DeliveryStatus.FAILED, DeliveryStatus.PENDING)),
}


def resend(delivery_id: UUID, *, by: str) -> None:
    """Send it once more, with what stands behind it in the message; the person may then have it twice."""
    _decide(delivery_id, "resend", by=by)


def arrived(delivery_id: UUID, *, by: str) -> None:
    """Somebody has seen it at the person's: it counts as sent."""
    _decide(delivery_id, "arrived", by=by)


def give_up(delivery_id: UUID, *, by: str) -> None:
    """Leave it at that, and the rest of the message with it."""
    _decide(delivery_id, "give_up", by=by)


def _decide(delivery_id: UUID, decision: str, *, by: str) -> None:
    change, possible = DECIDED[decision]
    with transaction.atomic():
        found = Delivery.objects.filter(pk=delivery_id).values_list("conversation_id", flat=True).first()
        if found is None:
            raise NothingToDecideError
        buffering.lock(found)
        row = Delivery.objects.select_for_update(no_key=True).get(pk=delivery_id)
        deleted = Message.objects.filter(pk=row.message_id, deleted_at__isnull=False).exists()
        if row.status not in possible or (decision == "resend" and deleted):
            raise NothingToDecideError
        values: dict[str, Any] = {"id": row.pk, "message": row.message_id, "part": row.part, "by": by[:150]}
        with connection.cursor() as cursor:
            cursor.execute(change, values)
        told: dict[str, Any] = {"conversation": str(found), "message_index": row.message_index, "part": row.part}
        audit.record(f"delivery.{decision}", by, ("delivery", row.pk), {**told, "was": row.status})
        outbox.wake(found, row.channel)
    logger.info("delivery decided", delivery=str(delivery_id), decision=decision, by=by)


TROUBLE = """
SELECT count(*) FILTER (WHERE status = 'unknown'), count(*) FILTER (WHERE status = 'failed')
FROM deliveries WHERE status IN ('unknown', 'failed') AND resolved_at IS NULL
    AND updated_at > clock_timestamp() - %s::interval
"""
# By its age: every look at a channel that cannot send puts the next attempt off, which makes nothing less late.
OLDEST = """
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - created_at)), 0)::float8 FROM deliveries
WHERE status IN ('pending', 'sending')
"""


def hindrance(delivery: Delivery) -> str:
    """Why the delivery's channel could not send lately; empty where nothing is known."""
    waiting = Delivery.objects.filter(channel=delivery.channel, status=DeliveryStatus.PENDING).exclude(error="")
    return waiting.order_by("-updated_at").values_list("error", flat=True).first() or ""


def deliveries() -> Result:
    """Does what is said reach the people?"""
    with connection.cursor() as cursor:
        cursor.execute(TROUBLE, [FORGIVEN])
        unknown, failed = cursor.fetchone()
        cursor.execute(OLDEST)
        (late,) = cursor.fetchone()
    if unknown or failed or late > STUCK:
        numbers = {"unknown": unknown, "failed": failed, "late": round(late)}
        detail = _("unknown: %(unknown)d, failed: %(failed)d, the oldest has waited for %(late)d s") % numbers
        fix = _("Look at Deliveries in the admin: resend, it arrived, or give up.")
        return Result("deliveries", False, detail, fix)
    return Result("deliveries", True, _("nothing waits for a decision"))
