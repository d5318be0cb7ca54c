"""Whatever somebody wrote, a reader sees every character of it."""

import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from config.text import UNSEEN, pieces, plain

TEXTS = st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\u202e\u2066\u200b\ufeff\r\n\t\x00\x9f a")))


@settings(max_examples=400)
@given(TEXTS)
def test_nothing_is_lost_and_nothing_stays_unseen(text: str) -> None:
    parts = pieces(text)
    shown = "".join(chr(int(part.text[2:], 16)) if part.unseen else part.text for part in parts)
    assert shown == text.replace("\r\n", "\n")
    assert not any(UNSEEN.search(part.text) for part in parts)
    assert not UNSEEN.search(plain(text))


def test_every_mark_of_direction_and_every_control_character_is_shown() -> None:
    for code in range(0x110000):
        character = chr(code)
        turns = unicodedata.bidirectional(character) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
        if turns or (unicodedata.category(character) == "Cc" and character not in "\t\n"):
            assert UNSEEN.match(character), f"U+{code:04X}"


def test_emoji_and_scripts_that_need_joiners_stay_whole() -> None:
    family = "👨‍👩‍👧‍👦"
    assert [part.text for part in pieces(family)] == [family]
    assert plain("نام‌خانوادگی") == "نام‌خانوادگی"
