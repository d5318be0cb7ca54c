"""Tasks that do their worst: each ends in a visible, bounded state while its neighbours go on."""

from pathlib import Path

import psutil
import pytest

from config.queue import defer
from tests.chaos.test_the_database_goes_away import signed
from tests.chaos.world import World
from tests.patience import eventually

DEADLY = ["stage.kills_its_worker", "stage.exits", "stage.exits_hard", "stage.raises", "stage.hangs"]
HARMLESS = ["stage.returns_a_lambda", "stage.returns_20_mb"]


def hurry(chaos: World) -> None:
    """Skip the back-off: what waits for a retry is due now."""
    chaos.execute("UPDATE queue_tasks SET due_at = now() WHERE state = 'waiting' AND attempts > 0")


@pytest.mark.long
def test_poison_runs_exactly_n_times_and_is_given_up_while_neighbours_go_on(chaos: World) -> None:
    worker = chaos.worker(processes=2)
    for number in range(200):
        defer("stage.note", number)
        if number % 30 == 0 and DEADLY[number // 30 :]:
            defer(DEADLY[number // 30])
    for name in HARMLESS:
        defer(name)

    def settled() -> bool:
        hurry(chaos)
        return chaos.count("state IN ('waiting', 'leased')") == 0

    eventually(settled, 80, "all is settled")
    assert sorted(map(int, chaos.notes())) == list(range(200))
    given_up = dict(chaos.rows("SELECT name, attempts FROM queue_tasks WHERE state = 'dead' ORDER BY id"))
    assert given_up == {**dict.fromkeys(DEADLY, 5), "stage.hangs": 2}
    runs = chaos.witnessed("poison")
    assert {name: runs.count(name.removeprefix("stage.")) for name in DEADLY} == given_up
    assert {name: runs.count(name.removeprefix("stage.")) for name in HARMLESS} == dict.fromkeys(HARMLESS, 1)
    reasons = dict(chaos.rows("SELECT name, error FROM queue_tasks WHERE state = 'dead'"))
    assert "died" in reasons["stage.kills_its_worker"]
    assert "SystemExit" in reasons["stage.exits"]
    assert "timeout" in reasons["stage.hangs"]
    assert "RuntimeError: for ever" in reasons["stage.raises"]
    assert worker.text().count("task given up") == len(DEADLY)
    assert chaos.rows("SELECT count(*) FROM django_q_task") == [(0,)], "the cluster itself has nothing to report"


@pytest.mark.long
def test_a_task_that_swallows_its_alarm_is_ended_by_force(chaos: World) -> None:
    chaos.worker(processes=2)
    defer("stage.swallows_the_alarm")
    defer("stage.note", 1)
    eventually(lambda: chaos.notes() == ["1"], 10, "its neighbour runs")
    eventually(lambda: chaos.count("state = 'dead' AND error LIKE '%%died%%'") == 1, 20, "it was ended and given up")
    defer("stage.note", 2)
    eventually(lambda: "2" in chaos.notes(), 10, "life goes on")


@pytest.mark.long
def test_a_process_that_one_call_freezes_is_killed_and_replaced_within_seconds(chaos: World) -> None:
    worker = chaos.worker(processes=2)
    defer("stage.freezes")
    eventually(lambda: chaos.witnessed("poison"), 10, "it began")
    frozen = int(chaos.witnessed("poison")[0].split()[1])
    defer("stage.note", 1)
    eventually(lambda: chaos.notes() == ["1"], 5, "somebody else's task runs meanwhile")
    assert chaos.count("state = 'leased' AND name = 'stage.freezes'") == 1
    eventually(lambda: chaos.count("state = 'dead' AND error LIKE '%%frozen%%'") == 1, 15, "it was given up")
    eventually(lambda: not psutil.pid_exists(frozen), 5, "its process was ended")
    eventually(lambda: len(chaos.task_processes(worker)) == 2, 10, "and replaced")
    defer("stage.slow", 2, 0.5)
    defer("stage.slow", 3, 0.5)
    eventually(lambda: {"2", "3"} <= set(chaos.notes()), 10, "both work")
    assert chaos.rows("SELECT restarts FROM queue_workers") == [(0,)], "the group was left alone"
    assert "queue.frozen_process_killed" in worker.text()


@pytest.mark.long
def test_200_queued_tasks_survive_a_change_of_the_secret_key(chaos: World) -> None:
    for number in range(200):
        defer("stage.note", number)
    old = chaos.environment["SECRET_KEY"]
    chaos.worker(processes=2, SECRET_KEY="a-new-key-that-is-long-enough-for-anybody", SECRET_KEY_FALLBACKS=old)
    eventually(lambda: chaos.count() == 0, 30, "drained")
    assert sorted(map(int, chaos.notes())) == list(range(200))


@pytest.mark.long
def test_rows_nobody_here_signed_are_quarantined_and_never_run(chaos: World, tmp_path: Path) -> None:
    good = signed("stage.note", 1)
    _, key_id, signature = good
    forged = [
        ("stage.note", "[2]", key_id, signature),  # other arguments
        ("stage.exits", good[0], key_id, signature),  # other task
        ("os.system", f'["touch {tmp_path}/canary"]', key_id, signature),
        ("stage.note", "[1]", "unknown", signature),
        ("stage.note", "not json", key_id, signature),
        ("stage.note", "[" * 2000, key_id, signature),
        ("stage.note", good[0], key_id, ""),
    ]
    for row in forged:
        chaos.execute("INSERT INTO queue_tasks (name, args, key_id, signature) VALUES (%s, %s, %s, %s)", *row)
    chaos.worker(processes=1)
    defer("stage.note", 7)
    eventually(lambda: chaos.count("state IN ('waiting', 'leased')") == 0, 20, "all is settled")
    assert chaos.notes() == ["7"]
    assert chaos.count("state = 'quarantined' AND error <> ''") == len(forged)
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_a_task_that_a_release_removed_waits_for_the_next_one_and_ends_visibly(chaos: World) -> None:
    defer("stage.removed")
    chaos.worker(processes=1, PARLEY_STAGE_REMOVED="1")

    def given_up() -> bool:
        hurry(chaos)
        return chaos.count("state = 'quarantined'") == 1

    eventually(given_up, 15, "it is quarantined after its attempts")
    assert chaos.rows("SELECT attempts, error FROM queue_tasks WHERE name = 'stage.removed'") == [
        (2, "No task is registered as 'stage.removed'.")
    ]
