"""Where django-q2 gets its tasks from: rows of `queue_tasks`, claimed the moment they are due.

The pusher process of a cluster calls `dequeue` in a loop. Sleeping, it listens: a notification is a hint to look early,
the poll is the truth, and the next due time is known, so that a delayed task starts within milliseconds.
"""

import json
import time
from typing import Any

import psycopg
import structlog
from django.db import DatabaseError, connection
from django_q import signing as django_q_signing
from django_q.brokers import Broker as DjangoQBroker

from config.models.queued_task import QueuedTask, State
from config.postgresql.connections import WatchedConnection
from config.queue import rows, running
from config.queue.deadline import OverrunError, deadline
from config.queue.deferring import defer
from config.queue.errors import UnknownTaskError

log = structlog.get_logger(__name__)

ENTRY_POINT = "config.queue.run"
ANSWER_WITHIN = 2.0  # seconds for a claim; a connection that takes longer is given up and opened anew
BACKOFF, BACKOFF_LIMIT = 0.1, 2.0  # seconds between attempts to reach the database again
LOCKED = 0.02  # seconds to wait when the next row is due but locked by somebody's transaction
AWAY = (psycopg.Error, OverrunError)  # any of them: what is raised from dequeue ends the pusher


class JSONSerializer:
    """Takes the place of pickle in what django-q2 signs: a package read back can hold data only."""

    @staticmethod
    def dumps(obj: object) -> bytes:
        return json.dumps(obj, default=str).encode()

    @staticmethod
    def loads(data: bytes) -> Any:
        return json.loads(data)


django_q_signing.PickleSerializer = JSONSerializer


class Broker(DjangoQBroker):  # type: ignore[misc]
    """django-q2's extension point. One instance serves one process; `dequeue` owns a connection of its own."""

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self._listener: psycopg.Connection[Any] | None = None
        self._backoff = BACKOFF
        self._next_try = 0.0

    @staticmethod
    def get_cache() -> None:
        """No cache: cluster statistics are rows of `queue_workers`."""

    def enqueue(self, package: str) -> int | None:
        """What `async_task` calls. Only our entry point with a registered name comes through."""
        task = django_q_signing.SignedPackage.loads(package)
        if task["func"] != ENTRY_POINT or not task["args"] or task["kwargs"]:
            raise UnknownTaskError(
                f"Only registered tasks are queued, {str(task['func'])[:100]!r} is none. Use defer()."
            )
        return defer(*task["args"])

    def dequeue(self) -> list[tuple[None, str]] | None:
        """The next due task, waiting for it half a second at most. An outage is waited out, never raised."""
        until = time.monotonic() + rows.POLL
        if self._next_try > until:
            time.sleep(rows.POLL)
            return None
        time.sleep(max(0.0, self._next_try - time.monotonic()))
        try:
            with deadline(ANSWER_WITHIN + rows.POLL):
                listener = self._connected()
                while not (claimed := rows.claim(listener.cursor(), running.worker_id)):
                    if not self._sleep(listener, until):
                        return None
        except AWAY as error:
            self._lost(error)
            return None
        self._backoff = BACKOFF
        if claimed.state != "leased":
            return None
        return [(None, package(claimed))]  # no ack_id: the entry point settles, the monitor has nothing to do

    def _sleep(self, listener: psycopg.Connection[Any], until: float) -> bool:
        """Wait for the next due time, a notification or the end of the poll; False when the poll is over."""
        due_in = rows.next_due_in(listener.cursor())
        left = until - time.monotonic()
        if left <= 0:
            return False
        if due_in is not None:
            left = min(left, due_in if due_in > 0 else LOCKED)
        for _notification in listener.notifies(timeout=left, stop_after=1):
            pass
        return True

    def _connected(self) -> psycopg.Connection[Any]:
        """The pusher's connection, opened after the fork. What an earlier one claimed, but never got to know, is freed.

        What waits in the cluster for a free process is freed with it: its claim ends, so it is run once, by the next.
        """
        if self._listener is None:
            params = connection.get_connection_params()
            params["options"] = (
                f"{params.get('options', '')} -c synchronous_commit=off -c application_name=parley-queue"
            )
            params.update(prepare_threshold=2, cursor_factory=psycopg.Cursor)
            listener = WatchedConnection.connect(**params, autocommit=True)
            listener.execute(f"LISTEN {rows.CHANNEL}")
            self._listener = listener
            if running.worker_id:
                rows.release_unstarted(listener.cursor(), running.worker_id)
        return self._listener

    def _lost(self, error: BaseException) -> None:
        """Forget the connection and try again a little later every time, without a word after the first."""
        if self._backoff == BACKOFF:
            log.warning("queue lost the database", reason=str(error).strip().splitlines()[0])
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._next_try = time.monotonic() + self._backoff
        self._backoff = min(BACKOFF_LIMIT, self._backoff * 2)

    def acknowledge(self, task_id: list[int]) -> None:
        """Done: for callers of the broker's own interface; fenced by the claim in `task_id`."""
        rows.acknowledge(rows.Claim(*task_id), running.place())

    def fail(self, task_id: list[int]) -> None:
        """UnreadableError for the cluster: kept, with the reason, never deleted."""
        rows.fail(
            rows.Claim(*task_id),
            running.place(),
            "The cluster could not read the task.",
            permanent=True,
            given_up="quarantined",
        )

    def queue_size(self) -> int:
        return QueuedTask.objects.due().count()

    def lock_size(self) -> int:
        return QueuedTask.objects.filter(state=State.LEASED).count()

    def delete(self, task_id: list[int]) -> None:
        self.acknowledge(task_id)

    def purge_queue(self) -> None:
        raise NotImplementedError("The queue is not purged: staff retry or discard what was given up.")

    delete_queue = purge_queue

    def ping(self) -> bool:
        """Really asks: a cluster that cannot reach its queue should not look healthy."""
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM queue_tasks LIMIT 1")
        except DatabaseError:
            return False
        return True

    def info(self) -> str:
        return "Parley, PostgreSQL"


def package(claimed: rows.Claimed) -> str:
    """A claim as django-q2's signed package; it goes no further than the pusher's own memory."""
    return str(
        django_q_signing.SignedPackage.dumps(
            {
                "id": str(claimed.claim.id),
                "name": claimed.name,
                "func": ENTRY_POINT,
                "args": [claimed.claim.id, claimed.claim.generation],
                "kwargs": {},
                "timeout": claimed.timeout,
                "save": False,
            }
        )
    )
