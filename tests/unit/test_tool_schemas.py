"""Schemas and arguments that are built to be expensive: each is refused, or judged in a moment."""

import time
from typing import Any

import pytest

from agents import schemas
from tests.patience import granted

FREEZES = r"^([A-Za-z_]+/?)+$"
STUBBORN = r"^(a|a)*$"


def shape(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def doubling(levels: int) -> dict[str, Any]:
    """Each level stands twice in the one above."""
    inner = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(levels)}
    return {"type": "object", "$ref": "#/$defs/l0", "$defs": {**inner, f"l{levels}": {}}}


@pytest.mark.parametrize("pattern", [FREEZES, STUBBORN, "(x+x+)+y"])
def test_a_pattern_that_backtracks_is_a_problem_within_a_moment(pattern: str) -> None:
    schema = shape(zone={"type": "string", "pattern": pattern})
    schemas.check(schema)
    begun = time.monotonic()
    problems = schemas.problems(schema, {"zone": ("x" if "x" in pattern else "a") * 44 + "!"})
    assert len(problems) == 1
    assert time.monotonic() - begun < granted(2)


def test_a_pattern_still_says_what_fits() -> None:
    schema = shape(day={"pattern": r"^\d{4}-\d{2}-\d{2}$"}, letters={"pattern": r"^\p{L}+$"})
    schemas.check(schema)
    assert schemas.problems(schema, {"day": "2026-12-01", "letters": "слово"}) == []
    assert schemas.problems(schema, {"day": "tomorrow"}) == [r"day: 'tomorrow' does not match '^\\d{4}-\\d{2}-\\d{2}$'"]
    assert schemas.problems(schema, {"day": 5}) == []


def test_a_text_that_is_long_is_not_matched_at_all() -> None:
    (problem,) = schemas.problems(shape(a={"pattern": "a"}), {"a": "a" * (schemas.MATCHED + 1)})
    assert "too long" in problem


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"pattern": "(a"}, "no regular expression"),
        ({"pattern": "a{99999999}"}, "repeats too much"),
        ({"pattern": "((?:ab){1000}){1000}"}, "repeats too much"),
        ({"pattern": "(?:ab){1000}+{1000}"}, "repeats too much"),
        ({"pattern": "(" * 900 + ")" * 900}, "pattern"),
        ({"patternProperties": {FREEZES: {}}}, "patternProperties"),
        ({"$ref": "#/properties/a"}, "circle"),
        ({"anyOf": [{"not": {"$ref": "#/properties/a"}}]}, "circle"),
        ({"$ref": "#/$defs/absent"}, "nowhere"),
        ({"$id": "other", "type": "string"}, r"\$id"),
    ],
)
def test_what_could_not_be_judged_is_refused(part: dict[str, Any], reason: str) -> None:
    with pytest.raises(schemas.SchemaInvalidError, match=reason):
        schemas.check(shape(a=part))
    (problem,) = schemas.problems(shape(a=part), {"a": "x" * 44 + "!"})
    assert problem, "a schema saved earlier is told, never raised"


def test_a_schema_that_refers_to_itself_at_the_top_is_refused() -> None:
    circle = {"type": "object", "$ref": "#"}
    with pytest.raises(schemas.SchemaInvalidError, match="circle"):
        schemas.check(circle)
    assert len(schemas.problems(circle, {})) == 1


def test_a_tree_may_refer_to_itself() -> None:
    tree = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}}
    schemas.check(tree)
    assert schemas.problems(tree, {"children": [{"children": []}]}) == []
    assert schemas.problems(tree, {"children": [{"children": 1}]}) == ["children/0/children: 1 is not of type 'array'"]
    deep: dict[str, Any] = {}
    for _ in range(900):
        deep = {"children": [deep]}
    (problem,) = schemas.problems(tree, deep)
    assert "nested too deeply" in problem


def test_references_that_multiply_are_refused() -> None:
    schemas.check(doubling(4))
    with pytest.raises(schemas.SchemaInvalidError, match="too many"):
        schemas.check(doubling(30))


def test_references_that_multiply_with_the_arguments_are_cut_short() -> None:
    twice = {"type": "object", "properties": {"a": {"allOf": [{"$ref": "#"}] * 2}}}
    schemas.check(twice)
    deep: dict[str, Any] = {}
    for _ in range(30):
        deep = {"a": deep}
    begun = time.monotonic()
    (problem,) = schemas.problems(twice, deep)
    assert "too long" in problem
    assert time.monotonic() - begun < granted(schemas.JUDGED_WITHIN + 1)
