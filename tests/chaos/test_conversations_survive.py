"""Whole conversations through a storm: every message is stored once and answered once, in order, whatever dies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.chaos.checking import Verdict, check
from tests.chaos.history import History
from tests.chaos.storm import SHOWER, Report, Storm, Weather
from tests.chaos.world import SEED, World
from tests.patience import LONG, granted

EMPTY = "BEGIN; SET LOCAL parley.erasing = 'on'; TRUNCATE conversations CASCADE; TRUNCATE queue_tasks; COMMIT"


@pytest.fixture
def sky(_world: World) -> Iterator[World]:
    """The world, with workers whose agent asks the harness's model, and no conversation yet."""
    above = replace(_world, settings_module="tests.chaos.talk_settings", workers=[])
    above.execute(EMPTY)
    yield above
    above.stop_workers()
    above.execute(EMPTY)


def report(storm: Report) -> str:
    return "\n".join(storm.lines())


@pytest.mark.long
def test_a_storm_loses_nothing_answers_nothing_twice_and_keeps_the_order(sky: World) -> None:
    weather = Weather() if LONG else SHOWER
    storm = Storm(sky, weather, SEED).run()
    print(report(storm))  # noqa: T201  the figures, for who runs it with -s
    assert storm.verdict.clean, report(storm)
    assert storm.verdict.acknowledged == weather.messages
    assert storm.struck == {"kill": weather.kills, "pause": weather.pauses, "restart": weather.restarts}
    assert storm.verdict.model_repeats <= storm.interrupted, report(storm)
    assert storm.drained_in <= granted(60)
    the_checker_sees_what_is_wrong(sky, storm)


def the_checker_sees_what_is_wrong(sky: World, storm: Report) -> None:
    """A judge that cannot condemn is no judge: each promise is broken on purpose, and found broken."""
    history = History(sky.folder / f"history-{storm.seed}.jsonl")

    def verdict() -> Verdict:
        return check(history, sky.rows)

    assert verdict().clean
    history.note("invoke", by="writer", chat="nowhere", id="ghost", text="boo", writer=0, number=9_999)
    assert verdict().clean, "an attempt nobody answered is no promise"
    history.note("ok", by="writer", id="ghost", index=0, repeated=False)
    assert verdict().lost == ["ghost"]
    sky.execute(
        "DO $$ BEGIN SET LOCAL session_replication_role = replica;"
        " DELETE FROM message_fates WHERE id = (SELECT min(id::text)::uuid FROM message_fates); END $$"
    )
    assert any(fault.startswith("uncovered") for fault in verdict().faults)
    sky.execute(
        "INSERT INTO messages (conversation_id, role, content, turn_id)"
        " SELECT conversation_id, role, content, turn_id FROM messages WHERE role = 'assistant' ORDER BY id LIMIT 1"
    )
    found = verdict()
    assert found.duplicated
    assert found.disordered
    assert any(fault.startswith("duplicated") for fault in found.faults)
    sky.execute(
        "INSERT INTO messages (conversation_id, role, content, external_id, inbound)"
        " SELECT id, 'user', 'from nowhere', 'nobody', true FROM conversations LIMIT 1"
    )
    found = verdict()
    assert found.unexpected == ["nobody"]
    assert "from nowhere" in found.lost
    history.close()
