"""A configuration is read whole or refused with words a person can act on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from django.utils.translation import override
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.config import AgentConfig, ConfigInvalidError, as_text, parse

CHAT = 'kind = "chat"\n'
WRONG = [
    ("", "kind: is missing; allowed: interview, chat."),
    ('kind = "poll"', "kind: is 'poll'; allowed: interview, chat."),
    ('kind = "interview"', "questions: an interview needs at least one question."),
    (CHAT + 'questions = ["a"]', 'questions: a chat asks none; leave them out, or set kind = "interview".'),
    (CHAT + "temperatur = 1", "temperatur: there is no such field; allowed here: kind, description, model,"),
    (CHAT + "[budgets]\ntoken = 1", "budgets.token: there is no such field; allowed here: tokens, tool_calls, sec"),
    (CHAT + "[budgets]\ntokens = 99", "budgets.tokens: is 99; input should be greater than or equal to 100."),
    (CHAT + "[budgets]\nseconds = inf", "budgets.seconds: is inf; input should be less than or equal to 300."),
    (CHAT + "[budgets]\ntool_calls = true", "budgets.tool_calls: is True; input should be a valid integer."),
    (CHAT + '[debounce]\ndebounce = "4"', "debounce.debounce: is '4'; input should be a valid number."),
    (CHAT + "[debounce]\nmax_size = 0", "debounce.max_size: is 0; input should be greater than or equal to 1."),
    (CHAT + "budgets = 3", "budgets: is 3; a table is needed, in TOML a line [budgets] with its fields below."),
    (CHAT + 'tools = "now"', "tools: is 'now'; a list is needed, for example tools = "),
    (CHAT + 'tools = ["os.system"]', "tools.1: is 'os.system'; a tool's name is small letters"),
    (CHAT + 'tools = ["now", "now"]', "tools: a name stands there twice; name each tool once."),
    (CHAT + 'language = "EN"', "language: is 'EN'; allowed: two small letters"),
    (CHAT + 'language = "en\\n"', "language: is 'en\\n'; allowed: two small letters"),
    (CHAT + 'model = "a b"', "model: is 'a b'; allowed: \"scripted\" or the name of a model"),
    (CHAT + 'greeting = "a\\u0000b"', "greeting: holds a character that cannot be stored"),
    (CHAT + "kind = 1", "The file is not TOML: "),
    ("x" * 70_000, "The file is larger than 64 kB."),
    ("a = " + "[" * 5_000, "The file is not TOML: "),
]


@pytest.mark.parametrize(("text", "told"), WRONG, ids=[told[:40] for _text, told in WRONG])
def test_what_is_wrong_is_told_by_field_with_what_is_allowed(text: str, told: str) -> None:
    with pytest.raises(ConfigInvalidError) as refused:
        parse(text)
    assert refused.value.problems[0].startswith(told)


@pytest.mark.parametrize("text", [text for text, _told in WRONG])
def test_the_same_is_told_in_russian(text: str) -> None:
    with override("ru"), pytest.raises(ConfigInvalidError) as refused:
        parse(text)
    for problem in refused.value.problems:
        says = re.sub(r"^[\w.]+: |'.*?'|\".*?\"|allowed here.*", "", problem)
        assert re.search("[а-яё]{4}", says), problem
        assert not re.search(r"\b(input|should|must|is|allowed|needed)\b", says), problem


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(ConfigInvalidError) as refused:
        parse({"kind": "x", "language": 5, "budgets": {"tokens": 1, "nope": 1}, "nope": 1})
    assert len(refused.value.problems) == 5


def test_the_demo_agents_can_be_read() -> None:
    folder = Path(__file__).resolve().parents[2] / "agents" / "configs"
    kinds = {path.stem: (parse(path.read_text()).kind, parse(path.read_text()).language) for path in folder.iterdir()}
    assert kinds == {
        "assistant": ("chat", "en"),
        "pereezd": ("interview", "ru"),
        "relocation": ("interview", "en"),
    }


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)
lines = texts.map(str.strip).filter(bool)
configs = st.builds(
    dict,
    kind=st.just("interview"),
    questions=st.lists(lines, min_size=1, max_size=5),
    system_prompt=texts,
    greeting=texts,
    tools=st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True), unique=True, max_size=4),
    budgets=st.fixed_dictionaries({"tokens": st.integers(100, 1_000_000), "seconds": st.floats(1, 300)}),
    debounce=st.fixed_dictionaries({}, optional={"debounce": st.floats(0, 600), "max_size": st.integers(1, 500)}),
)


@given(configs)
@settings(max_examples=200, deadline=None)
def test_what_is_stored_reads_back_as_it_was(values: dict[str, object]) -> None:
    config = parse(values)
    stored = json.loads(json.dumps(config.as_json()))
    assert parse(stored) == config
    assert parse(stored).as_json() == stored
    assert as_text(stored) == as_text(config.as_json())


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(sorted(AgentConfig.model_fields)) | st.text(max_size=10), anything, max_size=6))
@settings(max_examples=200, deadline=None)
def test_any_values_are_read_or_refused(values: dict[str, object]) -> None:
    try:
        config = parse({"kind": "chat", **values})
    except ConfigInvalidError:
        return
    json.dumps(config.as_json(), allow_nan=False).encode()
