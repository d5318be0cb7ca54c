"""What every channel that sends promises, and what the list of channels does. A new channel adds its stage here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import conversations.channels
from conversations.channels import (
    CHANNELS,
    PULLED,
    SERVED,
    ChannelUnavailableError,
    Later,
    Lost,
    Refused,
    Sent,
    UnknownChannelError,
    channel,
)
from tests import fake_account, paper_channel, telegram_stage
from tests.paper_channel import Stage

STAGES: dict[str, Callable[[], AbstractContextManager[Stage]]] = {
    "paper": paper_channel.stage,
    "mtproto": fake_account.stage,
    "telegram": telegram_stage.fake,
    "real telegram": telegram_stage.real,
}
FOLDER = Path(conversations.channels.__file__).parent
TEXTS = [
    "Good morning",
    "*not bold* _not slanted_ [no](link) <b>&amp; no tag</b> \\ ` ~ > # + - = | { } . !",
    "две строки\nи ещё одна",
    "👩‍👩‍👧‍👦 e\u0301 \u200f العربية",
]


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with STAGES[request.param]() as one:
        yield one


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_arrives_once_and_as_it_is(stage: Stage, text: str) -> None:
    result = stage.transport.send(stage.address, text, key="1")
    assert isinstance(result, Sent)
    assert result.external_id
    assert stage.accepted() == [text]


def test_a_part_as_long_as_it_may_be_arrives_whole(stage: Stage) -> None:
    units = stage.transport.limit
    text = "😀" * (units // 2 - 1) + "." * (units - 2 * (units // 2 - 1))
    assert len(text.encode("utf-16-le")) // 2 == units
    assert isinstance(stage.transport.send(stage.address, text, key="1"), Sent)
    assert stage.accepted() == [text]


def test_two_parts_have_two_ids(stage: Stage) -> None:
    ids = {str(stage.transport.send(stage.address, "same", key=str(key))) for key in range(2)}
    assert len(ids) == 2
    assert stage.accepted() == ["same", "same"]


def test_too_many_says_for_how_long(stage: Stage) -> None:
    stage.fail("too many")
    result = stage.transport.send(stage.address, "again", key="1")
    assert isinstance(result, Later)
    assert result.after > 0
    assert stage.accepted() == []
    assert isinstance(stage.transport.send(stage.address, "again", key="1"), Sent)


def test_what_never_left_may_be_sent_again(stage: Stage) -> None:
    stage.fail("unreachable")
    assert isinstance(stage.transport.send(stage.address, "again", key="1"), Later)
    assert isinstance(stage.transport.send(stage.address, "again", key="1"), Sent)
    assert stage.accepted() == ["again"]


def test_a_lost_answer_is_never_called_sent(stage: Stage) -> None:
    """Lost where nobody can know; Later only where a repeat of the key does not arrive twice."""
    stage.fail("answer lost")
    result = stage.transport.send(stage.address, "perhaps", key="1")
    assert isinstance(result, Lost | Later)
    if isinstance(result, Later):
        assert isinstance(stage.transport.send(stage.address, "perhaps", key="1"), Sent)
    assert stage.accepted() == ["perhaps"]


@pytest.mark.parametrize(("fault", "gone"), [("blocked", True), ("malformed", False)])
def test_a_refusal_is_final_and_says_why(stage: Stage, fault: paper_channel.Fault, gone: bool) -> None:
    stage.fail(fault)
    result = stage.transport.send(stage.address, "no", key="1")
    assert isinstance(result, Refused)
    assert result.reason
    assert result.gone is gone
    assert stage.accepted() == []


def test_typing_is_shown_and_never_in_the_way(stage: Stage) -> None:
    stage.transport.show_typing(stage.address)
    stage.fail("unreachable")
    stage.transport.show_typing(stage.address)
    assert stage.accepted() == []


# --- the list ---


@pytest.mark.parametrize("name", SERVED)
def test_every_channel_has_the_same_files(name: str) -> None:
    found = {path.stem for path in (FOLDER / CHANNELS[name].folder).glob("*.py")}
    if not found:
        pytest.skip(f"{name} has no folder yet")
    assert found >= {"updates", "transport", "runner", "commands"}


def test_no_folder_is_without_its_line() -> None:
    folders = {path.parent.name for path in FOLDER.glob("*/runner.py")}
    assert folders <= {one.folder for one in CHANNELS.values()}


def test_a_wrong_name_is_answered_with_the_right_one() -> None:
    with pytest.raises(UnknownChannelError, match=r"'telegramm'.*Did you mean telegram\?.*console"):
        channel("telegramm")


@pytest.mark.parametrize("name", PULLED)
def test_nothing_is_sent_where_clients_read_for_themselves(name: str) -> None:
    with pytest.raises(ChannelUnavailableError, match="read the log"):
        channel(name).transport()


def test_a_missing_package_is_named_with_the_way_to_get_it() -> None:
    broken = conversations.channels.Channel("x", "x", "x", pushes=True, needs=("no_such_module",), install="make x")
    with pytest.raises(ChannelUnavailableError, match=r"no_such_module.*make x"):
        broken.transport()
