"""The queue against a plain-Python oracle: whatever the order of events, row by row the same."""

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from config.models import QueuedTask
from config.queue import defer, registry, rows, staff
from config.queue.rows import Claim, Place
from tests.patience import LONG

ATTEMPTS, TIMEOUT = 3, 60
PLACE = Place(0, 4711)


@dataclass
class Row:
    """What the oracle believes of one row. Times are seconds on a clock that only `pass_time` moves."""

    key: str | None
    wake: float  # due, or the end of the lease
    earliest: float  # the wake-up may lie anywhere between these two after a back-off
    state: str = "waiting"
    attempts: int = 0
    limit: int = ATTEMPTS
    generation: int = 0
    started: bool = False


class QueueMachine(RuleBasedStateMachine):
    """Every public event of a row's life, in any order, with claims that come back late."""

    @initialize()
    def empty(self) -> None:
        QueuedTask.objects.all().delete()
        registry.TASKS["machine.task"] = registry.Task("machine.task", lambda: None, TIMEOUT, ATTEMPTS)
        self.now, self.real = 0.0, time.monotonic()
        self.rows: dict[int, Row] = {}
        self.claims: list[Claim] = []
        for key in ("a", None):
            self.enqueue(delay=0, key=key)

    # --- events ---
    @rule(delay=st.sampled_from([0, 0, 25, 1000]), key=st.sampled_from([None, None, "a", "b"]))
    def enqueue(self, delay: int, key: str | None) -> None:
        waiting = next((row for row in self.rows.values() if key and row.key == key and row.state == "waiting"), None)
        written = defer("machine.task", at=timedelta(seconds=delay), key=key)
        if waiting is None:
            assert written
            self.rows[written] = Row(key, self.now + delay, self.now + delay)
        else:
            assert written is None
            waiting.wake = min(waiting.wake, self.now + delay)
            waiting.earliest = min(waiting.earliest, waiting.wake)

    @precondition(lambda self: self.rows)
    @rule(dies=st.sampled_from(["no", "no", "on the way", "in the task"]))
    def work(self, dies: str) -> None:
        """A worker claims, and perhaps dies before or after the start; its lease runs out."""
        self.claim()
        if dies == "no" or not self.claims:
            return
        if dies == "in the task":
            self._start(self.claims[-1])
        self.pass_time(200)

    def claim(self) -> None:
        with connection.cursor() as cursor:
            found = rows.claim(cursor, 0)
        sure = [task_id for task_id, row in self.rows.items() if self._live(row) and row.wake <= self.now]
        if found is None:
            assert not sure, "something due was not claimed"
            return
        row = self.rows[found.claim.id]
        assert self._live(row)
        slack = time.monotonic() - self.real  # real time passes, too, while we play
        assert row.earliest <= self.now + slack, "claimed before its time"
        assert not [1 for task_id in sure if self.rows[task_id].wake < row.earliest - slack - 0.5], "out of order"
        never_started = row.state == "leased" and not row.started
        if row.attempts >= row.limit and not never_started:
            assert found.state == "dead"
            row.state, row.started, row.generation = "dead", False, found.claim.generation
            return
        assert found.state == "leased"
        assert found.claim.generation > row.generation
        row.attempts += 0 if never_started else 1
        row.state, row.started, row.generation = "leased", False, found.claim.generation
        row.wake = row.earliest = self.now + rows.CLAIM_LEASE
        self.claims.append(found.claim)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def start(self, data: Any) -> None:
        self._start(self._some_claim(data)[0])

    def _start(self, claim: Claim) -> None:
        row = self._held(claim)
        begun = rows.start(claim, PLACE)
        assert (begun is not None) == (row is not None)
        if row:
            row.started = True
            row.wake = row.earliest = max(row.wake, self.now + TIMEOUT + rows.MARGIN)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def acknowledge(self, data: Any) -> None:
        claim, row = self._some_claim(data)
        assert rows.acknowledge(claim, PLACE) == (row is not None)
        if row:
            del self.rows[claim.id]

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), permanent=st.booleans())
    def fail(self, data: Any, permanent: bool) -> None:
        claim, row = self._some_claim(data)
        state = rows.fail(claim, PLACE, "because", permanent=permanent)
        if row is None:
            assert state is None
        elif permanent or row.attempts >= row.limit:
            assert state == "dead"
            row.state, row.started = "dead", False
        elif not self._merged(claim.id, row, state):
            assert state == "waiting"
            delay = rows.BACKOFF * 2 ** (row.attempts - 1)
            row.state, row.started = "waiting", False
            row.earliest, row.wake = self.now + 0.75 * delay - 0.5, self.now + 1.25 * delay

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), ran=st.booleans())
    def put_back(self, data: Any, ran: bool) -> None:
        claim, row = self._some_claim(data)
        assert rows.put_back(claim, "an outage", ran=ran) == (row is not None)
        if row is None or self._merged(claim.id, row, "merged"):
            return
        row.state, row.started, row.wake, row.earliest = "waiting", False, self.now, self.now - 1
        row.attempts, row.limit = (row.attempts, row.limit + 1) if ran else (row.attempts - 1, row.limit)

    @rule(seconds=st.sampled_from([0.5, 8, 31, 200]))
    def time_passes(self, seconds: float) -> None:
        self.pass_time(seconds)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        past = timedelta(seconds=seconds)
        QueuedTask.objects.update(due_at=F("due_at") - past, lease_until=F("lease_until") - past)

    @precondition(lambda self: any(row.state == "dead" for row in self.rows.values()))
    @rule(data=st.data(), again=st.booleans())
    def staff_decide(self, data: Any, again: bool) -> None:
        dead = [task_id for task_id, row in self.rows.items() if row.state == "dead"]
        task_id = data.draw(st.sampled_from(dead))
        row = self.rows[task_id]
        if not again:
            assert staff.discard([task_id], by="ann") == 1
            del self.rows[task_id]
        elif self._twin(row):
            assert staff.retry([task_id], by="ann") == (0, 1)
        else:
            assert staff.retry([task_id], by="ann") == (1, 0)
            row.state, row.attempts, row.wake, row.earliest = "waiting", 0, self.now, self.now - 1

    # --- what must hold ---
    @invariant()
    def row_by_row_the_same(self) -> None:
        found = {
            task.pk: (task.key, task.state, task.attempts, task.max_attempts, task.started_at is not None)
            for task in QueuedTask.objects.all()
        }
        assert found == {
            task_id: (row.key, row.state, row.attempts, row.limit, row.started) for task_id, row in self.rows.items()
        }

    @invariant()
    def one_wake_up_of_a_key_waits(self) -> None:
        waiting = [row.key for row in self.rows.values() if row.key and row.state == "waiting"]
        assert len(waiting) == len(set(waiting))

    # --- help ---
    def _some_claim(self, data: Any) -> tuple[Claim, Row | None]:
        """A recent claim, and its row if the claim still holds."""
        claim = data.draw(st.sampled_from(self.claims[:-4:-1]))
        return claim, self._held(claim)

    def _held(self, claim: Claim) -> Row | None:
        row = self.rows.get(claim.id)
        return row if row and row.state == "leased" and row.generation == claim.generation else None

    def _live(self, row: Row) -> bool:
        return row.state in ("waiting", "leased")

    def _twin(self, row: Row) -> Row | None:
        return next(
            (o for o in self.rows.values() if o is not row and o.key and o.key == row.key and o.state == "waiting"),
            None,
        )

    def _merged(self, task_id: int, row: Row, state: str | None) -> bool:
        twin = self._twin(row)
        if twin is None:
            return False
        assert state == "merged"
        twin.attempts = max(twin.attempts, min(row.attempts, twin.limit - 1))
        del self.rows[task_id]
        return True


@pytest.mark.django_db
@pytest.mark.long
def test_the_queue_does_what_a_plain_model_of_it_does() -> None:
    try:
        run_state_machine_as_test(
            QueueMachine,
            settings=settings(
                max_examples=2000 if LONG else 200,
                stateful_step_count=50 if LONG else 20,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        registry.TASKS.pop("machine.task", None)
