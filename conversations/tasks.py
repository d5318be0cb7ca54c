"""The wake-ups of this room, and the finders of what nobody was woken for."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.utils.module_loading import import_string

from config.columns import clock
from config.crash import crash_point
from config.queue import before_work, defer, every, finder, task
from conversations import answering, buffering, delivering, outbox, receiving
from conversations.legacy import batches, retrying, undoing
from conversations.legacy.errors import WrittenSinceError
from conversations.log import ConversationNotFoundError
from conversations.models import Delivery, MessageBuffer, Turn

LATE = timedelta(seconds=5)  # after which a timer counts as lost
AT_ONCE = 1000  # rows a finder wakes in one go
KEEP_UPDATES = "30 days"  # a channel repeats an update for a day
KEEP_GATES = "1 day"


@task(receiving.FLUSH, timeout=30)
def flush(conversation_id: str, interview_step: int) -> None:
    """A burst may be over."""
    try:
        buffering.flush(UUID(conversation_id), interview_step)
    except ConversationNotFoundError:
        return  # erased meanwhile
    crash_point("after_seal")


@task(buffering.RUN, timeout=600)
def run(conversation_id: str) -> None:
    """The conversation may owe an answer."""
    answering.answer(UUID(conversation_id))


@before_work
def load_telegram() -> None:
    """Its library takes most of a second to import: the worker pays once, before it forks, where there is a bot."""
    if settings.TELEGRAM_BOT_TOKEN:
        import_string("conversations.channels.telegram.transport.connect")


@task(outbox.SEND, timeout=120)
def send(conversation_id: str) -> None:
    """The conversation may have something to send."""
    delivering.deliver(UUID(conversation_id))


@task("imports.undo", timeout=600)
def undo_import(batch_id: str, by: str, force: bool) -> None:
    """The next part of an undo that staff asked for; the rest is another task."""
    try:
        done = undoing.undo_some(UUID(batch_id), by=by, force=force)
    except (undoing.NothingToUndoError, WrittenSinceError):
        return  # done by somebody else, or stopped by people who write: its page says so
    if done is None:
        defer("imports.undo", batch_id, by, force)


@task("imports.retry", timeout=600)
def retry_import(batch_id: str, by: str) -> None:
    """Staff want the rejects of an import to be stored where that can be."""
    retrying.retry(UUID(batch_id), batches.rules_of(batches.get(UUID(batch_id))), by=by)


@finder("bursts.overdue")
def wake_overdue_bursts() -> int:
    """Open bursts whose timer is gone."""
    overdue = MessageBuffer.objects.due(late_by=LATE)
    rows = list(overdue.values_list("conversation_id", "interview_step", "flush_at")[:AT_ONCE])
    for conversation_id, step, flush_at in rows:
        buffering.set_timer(conversation_id, step, flush_at)
    return len(rows)


@finder("drafts.forgotten")
def forget_drafts() -> int:
    """What was watched of turns that no longer run: their process died before it could tidy up."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM turn_drafts"
            " WHERE NOT EXISTS (SELECT FROM turns WHERE turns.id = turn_id AND status = 'running')"
        )
        return int(cursor.rowcount)


@finder("turns.overdue")
def wake_overdue_turns() -> int:
    """Turns whose lease ran out or whose wake-up is gone."""
    ids = list(Turn.objects.overdue().values_list("conversation_id", flat=True).distinct()[:AT_ONCE])
    for conversation_id in ids:
        buffering.wake_turns(conversation_id)
    return len(ids)


@finder("deliveries.overdue")
def wake_overdue_deliveries() -> int:
    """Parts whose wake-up is gone, or whose sender died."""
    overdue = Delivery.objects.overdue().filter(next_attempt_at__lte=clock() - LATE)
    rows = overdue.values_list("conversation_id", "channel").distinct()[:AT_ONCE]
    found = [(id_, channel) for id_, channel in rows if id_ is not None]
    for conversation_id, channel in found:
        outbox.wake(conversation_id, channel)
    return len(found)


@every(3600, offset=600)
@task("channels.tidy", timeout=120)
def tidy() -> None:
    """Forget updates that no channel repeats any more, and the pace of chats that have fallen silent."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM channel_updates WHERE created_at < statement_timestamp() - %s::interval AND payload IS NULL",
            [KEEP_UPDATES],
        )
        cursor.execute(
            "DELETE FROM delivery_gates WHERE chat_id <> 0 AND greatest(next_at, paused_until)"
            " < clock_timestamp() - %s::interval",
            [KEEP_GATES],
        )
