"""What comes round: finders, periodic tasks, readiness and numbers."""

import threading
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, connections
from django.test import Client

from config import health
from config.figures import FIGURES
from config.models import QueuedTask, QueuePeriod, QueueWorker
from config.queue import defer, every, finder, numbers, run_due, sweep, task
from config.queue.registry import PERIODS, TASKS, Period, Task
from config.queue.supervisor import queue_slot
from config.queue.sweeping import Swept

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]


# --- sweep ---
def test_a_broken_finder_stops_no_other() -> None:
    @finder("try.first")
    def first() -> int:
        raise DatabaseError("malformed")

    @finder("try.second")
    def second() -> int:
        return 3

    results = {result.name: result for result in sweep()}
    assert results["try.first"] == Swept("try.first", 0, "DatabaseError: malformed")
    assert results["try.second"] == Swept("try.second", 3)


def test_the_command_tells_what_it_woke_and_fails_when_a_finder_does() -> None:
    out = StringIO()
    call_command("sweep", stdout=out)
    assert "0 woken" in out.getvalue()

    @finder("try.broken")
    def broken() -> int:
        raise ValueError

    with pytest.raises(SystemExit):
        call_command("sweep", stdout=out)
    assert "ValueError" in out.getvalue()


def test_what_a_silent_worker_holds_is_free_after_half_a_minute() -> None:
    silent = QueueWorker.objects.create(host="gone", pid=1, processes=1)
    living = QueueWorker.objects.create(host="here", pid=2, processes=1)
    QueueWorker.objects.filter(pk=silent.pk).update(beat_at=ago(31))
    for worker in (silent, living):
        task_id = defer("queue.sweep")
        QueuedTask.objects.filter(pk=task_id).update(
            state="leased", worker_id=worker.pk, lease_until=ago(-3000), started_at=ago(0), attempts=1
        )
    assert {result.name: result.woken for result in sweep()}["queue.silent_workers"] == 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT worker_id FROM queue_tasks WHERE lease_until <= clock_timestamp()")
        assert cursor.fetchall() == [(silent.pk,)]


def ago(seconds: float) -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp() - %s", [timedelta(seconds=seconds)])
        return cursor.fetchone()[0]


# --- periods ---
def test_a_period_is_counted_from_its_offset() -> None:
    daily = Period("x", 86_400, 3 * 3600)
    midnight = 1_800_000_000 // 86_400 * 86_400
    assert daily.slot(midnight + 3 * 3600 - 1) + 1 == daily.slot(midnight + 3 * 3600)
    assert daily.slot(midnight + 3 * 3600) == daily.slot(midnight + 86_400)


def test_a_slot_is_queued_once_and_missed_ones_are_not_caught_up() -> None:
    assert queue_slot("queue.sweep", 10)
    assert not queue_slot("queue.sweep", 10)
    assert run_due() == 1
    assert not queue_slot("queue.sweep", 10), "not even after it ran"
    assert not queue_slot("queue.sweep", 9)
    assert queue_slot("queue.sweep", 500)
    assert QueuedTask.objects.count() == 1
    assert QueuePeriod.objects.get().slot == 500


def test_a_slow_periodic_task_does_not_pile_up() -> None:
    for slot in range(5):
        queue_slot("queue.sweep", slot)
    assert QueuedTask.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_one_of_many_supervisors_queues_a_slot() -> None:
    barrier = threading.Barrier(6)
    answers: list[bool] = []

    def work() -> None:
        try:
            barrier.wait()
            answers.append(queue_slot("queue.sweep", 77))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [False] * 5 + [True]
    assert QueuedTask.objects.count() == 1


def test_a_period_belongs_to_a_task() -> None:
    @every(86_400, offset=3600)
    @task("try.daily")
    def daily() -> None: ...

    assert PERIODS["try.daily"] == Period("try.daily", 86_400, 3600)


def test_tidying_forgets_old_minutes_and_gone_workers_only() -> None:
    old = QueueWorker.objects.create(host="a", pid=1, processes=1)
    new = QueueWorker.objects.create(host="b", pid=1, processes=1)
    QueueWorker.objects.filter(pk=old.pk).update(beat_at=ago(8 * 86_400))
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO queue_minutes (minute, worker_id, pid, name) VALUES (%s, 1, 1, 'old'), (%s, 1, 1, 'new')",
            [ago(90_000), ago(60)],
        )
    defer("queue.tidy")
    run_due()
    assert list(QueueWorker.objects.all()) == [new]
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM queue_minutes ORDER BY name")
        assert cursor.fetchall() == [("new",), ("queue.tidy",)]


# --- what operators see ---
def test_readiness_wants_a_worker_that_beats() -> None:
    assert not numbers.worker().ok
    worker = QueueWorker.objects.create(host="a", pid=1, processes=1)
    assert numbers.worker().ok
    QueueWorker.objects.filter(pk=worker.pk).update(clock_skew_ms=-300_000)
    assert "clock is off by 300.0 s" in numbers.worker().detail
    QueueWorker.objects.filter(pk=worker.pk).update(beat_at=ago(16))
    assert not numbers.worker().ok
    assert "16 s old" in numbers.worker().detail
    QueueWorker.objects.filter(pk=worker.pk).update(beat_at=ago(0), stopped_at=ago(0))
    assert not numbers.worker().ok
    assert {numbers.worker, numbers.queue} <= set(health.READINESS)


def test_readiness_wants_due_work_to_be_started() -> None:
    defer("queue.sweep", at=timedelta(hours=1))
    assert numbers.queue().ok
    task_id = defer("queue.sweep", at=timedelta(seconds=-50))
    assert numbers.queue().ok
    QueuedTask.objects.filter(pk=task_id).update(due_at=ago(61))
    assert not numbers.queue().ok
    QueuedTask.objects.filter(pk=task_id).update(state="dead", error="x")
    assert numbers.queue().ok
    assert "given up: 1" in numbers.queue().detail


def test_the_numbers_are_told(client: Client) -> None:
    defer("queue.sweep", at=timedelta(seconds=-5))
    defer("queue.sweep", at=timedelta(hours=1))
    defer("queue.tidy", at=timedelta(seconds=-7))
    assert run_due(1) == 1
    QueueWorker.objects.create(host="a", pid=1, processes=1, restarts=3)
    told = client.get("/metrics").content.decode()
    for line in (
        'parley_queue_tasks{state="waiting"} 2.0',
        'parley_queue_tasks{state="quarantined"} 0.0',
        "parley_queue_due 1.0",
        'parley_queue_ended_5m{result="done",task="queue.tidy"} 1.0',
        "parley_worker_restarts_total 3.0",
        "parley_up 1.0",
    ):
        assert line in told
    (age,) = (line.split()[1] for line in told.splitlines() if line.startswith("parley_queue_oldest_due_seconds "))
    assert 5 <= float(age) < 30


# --- what came right by itself ---
@pytest.fixture(autouse=True)
def a_period() -> None:
    PERIODS["try.round"] = Period("try.round", 30, 0)
    turns_out(well=True)


def turns_out(*, well: bool) -> None:
    """So the task ends from now on."""

    def run(*_args: Any) -> None:
        if not well:
            raise RuntimeError("not this time")

    TASKS["try.round"] = Task("try.round", run, 60, 1)


def slot(number: int, *, well: bool) -> None:
    turns_out(well=well)
    assert queue_slot("try.round", number)
    assert run_due() == 1


def alarms(client: Client) -> tuple[int, int, str]:
    """Given up as the overview counts it, as metrics do, and what readiness says aside."""
    [told] = [figure for figure in FIGURES if figure.query and "quarantined" in figure.query]
    with connection.cursor() as cursor:
        cursor.execute(told.query)
        dead, _unreadable = cursor.fetchone()
    lines = client.get("/metrics").content.decode().splitlines()
    [number] = [line.split()[1] for line in lines if line.startswith('parley_queue_tasks{state="dead"}')]
    return dead, int(float(number)), numbers.queue().detail.partition(";")[2]


def test_a_period_that_went_well_later_alarms_nobody(client: Client) -> None:
    slot(1, well=False)
    slot(2, well=False)
    assert alarms(client) == (2, 2, " given up: 2, see the queue page")
    slot(3, well=True)
    assert alarms(client) == (0, 0, "")
    assert QueuedTask.objects.given_up().count() == 2, "kept for the record"
    assert 'parley_queue_tasks{state="overcome"} 2.0' in client.get("/metrics").content.decode()
    slot(4, well=False)
    assert alarms(client)[:2] == (1, 1), "it fails anew"


@pytest.mark.parametrize("options", [{}, {"key": ["try.round", 7]}, {"args": ["7"]}])
def test_a_task_of_its_own_that_was_given_up_is_never_hidden(client: Client, options: dict[str, Any]) -> None:
    turns_out(well=False)
    defer("try.round", *options.get("args", []), key=options.get("key"))
    run_due()
    slot(1, well=True)
    assert alarms(client)[:2] == (1, 1)


def test_the_success_of_a_task_of_its_own_hides_no_failed_period(client: Client) -> None:
    slot(1, well=False)
    turns_out(well=True)
    defer("try.round")
    run_due()
    assert alarms(client)[:2] == (1, 1)


def test_what_nobody_can_read_stays_an_alarm_whoever_succeeds(client: Client) -> None:
    slot(1, well=False)
    QueuedTask.objects.update(state="quarantined")
    slot(2, well=True)
    assert "given up: 1" in alarms(client)[2]
