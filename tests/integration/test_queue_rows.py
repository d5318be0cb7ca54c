"""What the queue promises to those who put tasks into it, on a real PostgreSQL."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import structlog
from django.db import IntegrityError, connection, connections, transaction

from config.models import QueuedTask, QueueMinute
from config.queue import ArgumentsError, UnknownTaskError, defer, registry, rows, run, run_due, staff, task
from config.queue.rows import Claim, Place

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

ran: list[tuple[Any, ...]] = []


@pytest.fixture(autouse=True)
def stage(registered: None) -> None:
    ran.clear()
    registry.TASKS["try.note"] = registry.Task("try.note", lambda *args: ran.append(args), 60, 5)


def fails_with(error: BaseException, *, attempts: int = 3) -> None:
    def function() -> None:
        ran.append(("failed",))
        raise error

    registry.TASKS["try.fail"] = registry.Task("try.fail", function, 60, attempts)


def claimed() -> rows.Claimed:
    with connection.cursor() as cursor:
        found = rows.claim(cursor, 0)
    assert found
    return found


def pass_time(seconds: float) -> None:
    """As if so much time had passed: every time in the table moves back."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE queue_tasks SET due_at = due_at - %(past)s, lease_until = lease_until - %(past)s,"
            " started_at = started_at - %(past)s",
            {"past": timedelta(seconds=seconds)},
        )


# --- enqueueing ---
def test_a_task_runs_once_with_its_arguments_and_leaves_no_row() -> None:
    defer("try.note", 1, "zwei", {"три": None})
    assert run_due() == 1
    assert ran == [(1, "zwei", {"три": None})]
    assert not QueuedTask.objects.exists()
    assert run_due() == 0


def test_rolled_back_means_never_queued() -> None:
    with transaction.atomic():
        defer("try.note", 1)
        transaction.set_rollback(True)
    assert run_due() == 0


def test_only_registered_names_are_queued() -> None:
    for name in ("os.system", "try.unknown", "", "try.note "):
        with pytest.raises(UnknownTaskError):
            defer(name)


def test_due_time_then_age_decides_who_runs_first() -> None:
    now = datetime.now(UTC)
    for number, late in enumerate([1, 30, 20, 30]):
        defer("try.note", number, at=now - timedelta(seconds=late))
    run_due()
    assert [args[0] for args in ran] == [1, 3, 2, 0]


def test_nothing_starts_before_its_time() -> None:
    defer("try.note", 1, at=timedelta(seconds=60))
    defer("try.note", 2, at=datetime.now(UTC) + timedelta(seconds=60))
    assert run_due() == 0
    pass_time(61)
    assert run_due() == 2
    with pytest.raises(ArgumentsError, match="time zone"):
        defer("try.note", at=datetime(2026, 1, 1))  # noqa: DTZ001  what is refused


def test_a_second_wake_up_of_a_key_is_a_no_op_while_one_waits() -> None:
    first = defer("try.note", 1, at=timedelta(hours=2), key=["flush", "a"])
    assert first is not None
    assert defer("try.note", 2, at=timedelta(hours=3), key=["flush", "a"]) is None
    assert defer("try.note", 2, at=timedelta(hours=2), key=["flush", "b"]) is not None
    assert QueuedTask.objects.get(pk=first).args == "[1]"
    assert defer("try.note", 3, key=["flush", "a"]) is None, "it moves the first one forward"
    assert run_due() == 1
    assert ran == [(1,)]


def test_a_wake_up_that_comes_while_the_first_runs_is_not_lost() -> None:
    defer("try.note", 1, key="k")
    claim = claimed().claim
    assert defer("try.note", 2, key="k") is not None
    run(claim.id, claim.generation)
    assert run_due() == 1
    assert ran == [(1,), (2,)]


def test_the_request_id_travels_into_the_task() -> None:
    seen: dict[str, Any] = {}
    registry.TASKS["try.context"] = registry.Task(
        "try.context", lambda: seen.update(structlog.contextvars.get_contextvars()), 60, 5
    )
    with structlog.contextvars.bound_contextvars(request_id="abc-12345678"):
        defer("try.context")
    run_due()
    assert seen["request_id"] == "abc-12345678"
    assert seen["task"] == "try.context"
    assert "request_id" not in structlog.contextvars.get_contextvars()


# --- running ---
@pytest.mark.parametrize(
    "error", [RuntimeError("x"), SystemExit(3), KeyboardInterrupt(), MemoryError(), RecursionError()]
)
def test_whatever_a_task_raises_is_a_failure_with_back_off_and_then_a_dead_letter(error: BaseException) -> None:
    fails_with(error, attempts=3)
    defer("try.fail")
    for attempt in (1, 2, 3):
        begun = datetime.now(UTC)
        assert run_due() == 1
        row = QueuedTask.objects.get()
        assert row.attempts == attempt
        assert type(error).__name__ in row.error
        if attempt < 3:
            assert row.state == "waiting"
            pause = timedelta(seconds=2 ** (attempt - 1))
            assert begun + 0.75 * pause <= row.due_at <= datetime.now(UTC) + 1.25 * pause
            pass_time(-1000)  # long before its time, however slow we are
            assert run_due() == 0
        pass_time(2000)
    assert QueuedTask.objects.get().state == "dead"
    assert run_due() == 0
    assert len(ran) == 3
    assert QueueMinute.objects.get().failed == 3


def test_a_permanent_error_is_given_up_at_once() -> None:
    error = ValueError("never again")
    error.permanent = True  # type: ignore[attr-defined]
    fails_with(error)
    defer("try.fail")
    run_due()
    assert QueuedTask.objects.get().state == "dead"


def test_a_result_is_dropped_whatever_it_is() -> None:
    for result in (lambda: None, "x" * 20_000_000, object()):
        registry.TASKS["try.result"] = registry.Task("try.result", lambda result=result: result, 60, 5)
        defer("try.result")
        assert run_due() == 1
    assert not QueuedTask.objects.exists()


def test_a_lost_lease_changes_nothing() -> None:
    defer("try.note", 1)
    first = claimed().claim
    assert rows.start(first, Place(0, 1))
    pass_time(1000)
    second = claimed().claim
    assert second.generation > first.generation
    assert not rows.acknowledge(first, Place(0, 1))
    assert rows.fail(first, Place(0, 1), "late") is None
    assert not rows.put_back(first, "late", ran=True)
    assert rows.start(first, Place(0, 1)) is None
    assert rows.start(second, Place(0, 2))
    assert rows.acknowledge(second, Place(0, 2))


def test_attempts_count_claims_that_started_and_end_in_a_dead_letter() -> None:
    defer("try.note", 1)
    for _ in range(3):
        claimed()  # never started: the process died on the way
        pass_time(rows.CLAIM_LEASE + 1)
    for attempt in range(1, 6):
        claim = claimed()
        assert (claim.state, claim.attempts) == ("leased", attempt)
        assert rows.start(claim.claim, Place(0, 1))
        pass_time(1000)
    assert claimed().state == "dead"
    assert "went away" in QueuedTask.objects.get().error
    with connection.cursor() as cursor:
        assert rows.claim(cursor, 0) is None


def test_a_retry_whose_key_waits_again_gives_way_and_hands_its_attempts_on() -> None:
    fails_with(RuntimeError("x"), attempts=3)
    defer("try.fail", key="k")
    for _ in range(2):
        claim = claimed().claim
        defer("try.fail", key="k")
        run(claim.id, claim.generation)
        assert QueuedTask.objects.count() == 1
    assert QueuedTask.objects.get().attempts == 2
    run_due()
    assert QueuedTask.objects.get().state == "dead"


def test_what_was_not_the_tasks_fault_costs_no_attempt_but_not_for_ever() -> None:
    defer("try.note")
    for _ in range(7):
        assert rows.put_back(claimed().claim, "", ran=False)
    assert QueuedTask.objects.get().attempts == 0
    for _ in range(300):
        found = claimed()
        if found.state == "dead":
            break
        assert rows.put_back(found.claim, "the database went away", ran=True)
    assert QueuedTask.objects.get().attempts == 100


def test_release_frees_what_a_worker_held() -> None:
    defer("try.note", 1)
    defer("try.note", 2)
    started, _unstarted = claimed(), claimed()
    rows.start(started.claim, Place(0, 1))
    assert rows.release(0, blame="It was killed.") == 2
    states = list(QueuedTask.objects.order_by("id").values_list("state", "attempts", "error"))
    assert states == [("waiting", 1, "It was killed."), ("waiting", 0, "")]


def test_a_task_that_never_started_is_not_blamed() -> None:
    defer("try.note")
    claimed()
    assert rows.release(0, blame="It was killed.") == 1
    assert list(QueuedTask.objects.values_list("state", "attempts", "error")) == [("waiting", 0, "")]


def test_what_was_claimed_and_not_started_is_free_at_once_and_what_runs_is_not() -> None:
    defer("try.note", 1)
    defer("try.note", 2)
    started, _unstarted = claimed(), claimed()
    rows.start(started.claim, Place(0, 1))
    with connection.cursor() as cursor:
        rows.release_unstarted(cursor, 0)
        assert rows.claim(cursor, 0) is not None
        assert rows.claim(cursor, 0) is None


def test_a_dead_letter_keeps_the_reason_that_its_attempts_gave() -> None:
    defer("try.note")
    QueuedTask.objects.update(error="The disk was full.", attempts=4)
    assert rows.start(claimed().claim, Place(0, 1))
    pass_time(1000)
    assert claimed().state == "dead"
    assert QueuedTask.objects.get().error == "The disk was full."


def test_the_time_until_something_is_due_is_known() -> None:
    with connection.cursor() as cursor:
        assert rows.next_due_in(cursor) is None
        defer("try.note", at=timedelta(seconds=60))
        due_in = rows.next_due_in(cursor)
    assert due_in is not None
    assert 50 < due_in <= 60


# --- concurrency, on connections of their own ---
@pytest.mark.django_db(transaction=True)
def test_the_first_waits_for_the_data_of_the_second_wake_up() -> None:
    """Without the row lock the task would run now, miss the second's data, and nothing would wake it again."""
    defer("try.note", 1, key="k")
    with transaction.atomic():
        assert defer("try.note", 2, key="k") is None
        with other() as cursor:
            assert rows.claim(cursor, 0) is None
    with other() as cursor:
        assert rows.claim(cursor, 0) is not None


@pytest.mark.django_db(transaction=True)
def test_many_claimers_never_share_a_row() -> None:
    for number in range(200):
        defer("try.note", number)
    got: list[int] = []

    def work() -> None:
        with other() as cursor:
            while found := rows.claim(cursor, 0):
                got.append(found.claim.id)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(set(got)) == 200


@pytest.mark.django_db(transaction=True)
def test_one_of_many_simultaneous_wake_ups_is_queued() -> None:
    barrier = threading.Barrier(8)
    answers: list[int | None] = []

    def work() -> None:
        try:
            barrier.wait()
            answers.append(defer("try.note", key=["same"]))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([answer for answer in answers if answer is not None]) == 1
    assert QueuedTask.objects.count() == 1


def other() -> Any:
    """A cursor of a second connection to the same database."""
    params = connection.get_connection_params()
    params["cursor_factory"] = psycopg.Cursor

    class Opened:
        def __enter__(self) -> Any:
            self.connection = psycopg.connect(**params, autocommit=True)
            return self.connection.cursor()

        def __exit__(self, *_: object) -> None:
            self.connection.close()

    return Opened()


# --- staff ---
def test_staff_retry_and_discard_what_was_given_up_and_nothing_else() -> None:
    fails_with(RuntimeError("x"), attempts=1)
    for _ in range(2):
        defer("try.fail", key="k")
        run_due()
    dead = list(QueuedTask.objects.order_by("id").values_list("pk", flat=True))
    waiting = defer("try.note", at=timedelta(hours=1))
    assert waiting
    assert staff.retry([*dead, waiting], by="ann") == (1, 1)
    assert QueuedTask.objects.get(pk=dead[0]).attempts == 0
    assert staff.discard([*dead, waiting], by="ann") == 1
    assert set(QueuedTask.objects.values_list("pk", flat=True)) == {dead[0], waiting}


def test_a_retry_makes_no_forged_row_trustworthy() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO queue_tasks (name, args, key_id, signature) VALUES ('try.note', '[]', 'x', 'y')")
    for _ in range(2):
        run_due()
        row = QueuedTask.objects.get()
        assert row.state == "quarantined"
        assert staff.retry([row.pk], by="ann") == (1, 0)
    assert ran == []


# --- the decorator ---
def test_a_decorated_function_stays_a_function() -> None:
    @task("try.double", timeout=5, attempts=2)
    def double(number: int) -> int:
        return 2 * number

    assert double(4) == 8
    assert registry.TASKS["try.double"].timeout == 5


# --- rules the database keeps ---
@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("state = 'sleeping', error = 'x'", "queue_tasks_state"),
        ("state = 'leased'", "queue_tasks_lease"),
        ("lease_until = now()", "queue_tasks_lease"),
        ("state = 'dead'", "queue_tasks_reason"),
        ("state = 'quarantined'", "queue_tasks_reason"),
        ("name = 'Os.System; --'", "queue_tasks_name"),
        ("args = repeat('x', 2049)", "queue_tasks_small"),
        ("key = repeat('x', 301)", "queue_tasks_small"),
        ("attempts = -1", "queue_tasks_bounds"),
        ("max_attempts = 101", "queue_tasks_bounds"),
        ("timeout = 0", "queue_tasks_bounds"),
    ],
)
def test_the_database_refuses_what_must_not_be(change: str, rule: str) -> None:
    defer("try.note")
    with pytest.raises(IntegrityError, match=rule), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE queue_tasks SET {change}")


def test_a_claim_reads_its_index_whatever_waits() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO queue_tasks (name, args, key_id, signature, due_at)"
            " SELECT 'try.note', '[]', 'x', 'y', now() + n * interval '1 second' FROM generate_series(1, 5000) AS n"
        )
        cursor.execute("ANALYZE queue_tasks")
        for statement in (rows.CLAIM, rows.NEXT):
            cursor.execute("EXPLAIN " + statement, {"lease": timedelta(1), "worker": 1})
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "queue_tasks_next" in plan, plan
            assert "Seq Scan" not in plan.replace("Seq Scan on candidate", ""), plan


def test_a_claim_of_a_crashed_database_cannot_be_taken_for_a_later_one() -> None:
    """The claim's commit was forgotten: the same row is claimed again, and the first claim is still worth nothing."""
    defer("try.note")
    with transaction.atomic():
        forgotten = claimed().claim
        transaction.set_rollback(True)
    again = claimed().claim
    assert again.generation != forgotten.generation
    assert rows.start(Claim(forgotten.id, forgotten.generation), Place(0, 1)) is None
