"""What a terminal says of itself: in the language of the settings, and once, however the seconds run down."""

from __future__ import annotations

import io

import pytest
from django.utils.translation import override

from conversations.channels.console import commands
from conversations.channels.console.transport import YOU, Screen


@pytest.mark.parametrize("waiting", ["listening %d s", "слушаю %d с"])
def test_a_terminal_that_cannot_draw_says_once_what_it_waits_for(waiting: str) -> None:
    out = io.StringIO()
    screen = Screen(out)
    for left in (12, 11, 3, 0):
        screen.show(waiting % left)
    assert out.getvalue().count(waiting.split(" ", maxsplit=1)[0]) == 1


def test_its_words_follow_the_language() -> None:
    with override("ru"):
        assert str(YOU) == "вы"
        assert "что было сказано раньше" in str(commands.HELP)
    with override("en"):
        assert str(YOU) == "you"
