"""What an agent is configured with: the shape, its limits, and words for what is wrong with a file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, get_args

from annotated_types import Predicate
from django.utils.translation import gettext as _
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import ErrorDetails

LARGEST = 64 * 1024  # bytes of a config file
SCRIPTED = "scripted"  # the built-in model that needs no network


class ConfigInvalidError(Exception):
    """The configuration cannot be used; the text names each field, what is wrong and what is allowed."""

    permanent = True

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class AgentKind(StrEnum):
    """An interview walks its questions; a chat answers what it is asked."""

    INTERVIEW = "interview"
    CHAT = "chat"


def _is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=20_000), Predicate(_is_storable)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000), Predicate(_is_storable)]
ToolName = Annotated[str, StringConstraints(pattern=r"\A[a-z][a-z0-9_]{0,63}\z")]
ModelName = Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}\z")]
Language = Annotated[str, StringConstraints(pattern=r"\A[a-z]{2}\z")]


class Shape(BaseModel):
    """Nothing but what is declared, of the declared type, and fixed once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Debounce(Shape):
    """How long this agent listens, in seconds and messages; what is left out is as the INTERVIEW_* settings say."""

    debounce: Annotated[float, Field(ge=0, le=600, strict=True)] | None = None
    typing: Annotated[float, Field(ge=0, le=600, strict=True)] | None = None
    max_wait: Annotated[float, Field(ge=1, le=3_600, strict=True)] | None = None
    max_size: Annotated[int, Field(ge=1, le=500, strict=True)] | None = None


class Budgets(Shape):
    """What one turn may cost at most; the upper limits hold whatever a file says."""

    tokens: Annotated[int, Field(ge=100, le=1_000_000, strict=True)] = 20_000
    tool_calls: Annotated[int, Field(ge=0, le=50, strict=True)] = 8
    seconds: Annotated[float, Field(ge=1, le=300, strict=True)] = 60.0


class AgentConfig(Shape):
    """One version of an agent, as the runtime gets it."""

    kind: AgentKind
    description: Text = ""
    model: ModelName = SCRIPTED
    system_prompt: Text = ""
    greeting: Text = ""
    questions: Annotated[tuple[Line, ...], Field(max_length=200)] = ()
    language: Language = "en"
    tools: Annotated[tuple[ToolName, ...], Field(max_length=50)] = ()
    on_failure: Text = ""
    debounce: Debounce = Debounce()
    budgets: Budgets = Budgets()

    @model_validator(mode="after")
    def _fits_its_kind(self) -> AgentConfig:
        if self.kind == AgentKind.INTERVIEW and not self.questions:
            raise ValueError(_("questions: an interview needs at least one question."))
        if self.kind == AgentKind.CHAT and self.questions:
            raise ValueError(_('questions: a chat asks none; leave them out, or set kind = "interview".'))
        if len(set(self.tools)) < len(self.tools):
            raise ValueError(_("tools: a name stands there twice; name each tool once."))
        return self

    def as_json(self) -> dict[str, Any]:
        """The form that is stored and compared: every field, defaults included."""
        stored: dict[str, Any] = self.model_dump(mode="json")
        return stored


def parse(source: str | Mapping[str, Any]) -> AgentConfig:
    """Read TOML text, or values that were TOML or JSON before. Raises ConfigInvalidError with every problem at once."""
    values = _toml(source) if isinstance(source, str) else dict(source)
    try:
        return AgentConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigInvalidError([_said(problem) for problem in error.errors()]) from error


def as_text(config: Mapping[str, Any]) -> str:
    """One field a line in a fixed order, long texts line by line: what a reader, and a comparison, is shown."""
    return "\n".join(line for key, value in in_order(config).items() for line in _lines(key, value)) + "\n"


def in_order(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as they are declared, which the database forgets; unknown ones of another release stand last."""
    return {**{field: config[field] for field in AgentConfig.model_fields if field in config}, **config}


def _lines(key: str, value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [line for inner, found in value.items() for line in _lines(f"{key}.{inner}", found)]
    if isinstance(value, list | tuple):
        return [f"{key}[{number}] = {json.dumps(item, ensure_ascii=False)}" for number, item in enumerate(value, 1)]
    if isinstance(value, str) and "\n" in value:
        return [f"{key} =", *(f"    {line}" for line in value.split("\n"))]
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}"]


def _toml(text: str) -> dict[str, Any]:
    if len(text.encode("utf-8", "replace")) > LARGEST:
        raise ConfigInvalidError([_("The file is larger than %d kB.") % (LARGEST // 1024)])
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigInvalidError([_("The file is not TOML: %s.") % error]) from error


def _said(problem: ErrorDetails) -> str:
    """Field, what is wrong, what is allowed."""
    where = ".".join(str(part + 1 if isinstance(part, int) else part) for part in problem["loc"])
    found = _("is %s") % _shown(problem["input"])
    match problem["type"]:
        case "value_error":
            return str(problem["ctx"]["error"])
        case "extra_forbidden":
            says = _("there is no such field; allowed here: %s") % ", ".join(_fields(problem["loc"][:-1]))
        case "missing":
            says = _("is missing; %s") % _allowed(where)
        case "enum" | "string_pattern_mismatch":
            says = f"{found}; {_allowed(where)}"
        case "predicate_failed":
            says = _("holds a character that cannot be stored (NUL or half a surrogate pair)")
        case "tuple_type":
            says = f"{found}; " + _('a list is needed, for example %s = ["one", "two"]') % where
        case "model_type":
            says = f"{found}; " + _("a table is needed, in TOML a line [%s] with its fields below") % where
        case _:
            says = f"{found}; {_by_pydantic(problem)}"
    return f"{where}: {says}."


def _by_pydantic(problem: ErrorDetails) -> str:
    """The library's own words; those of the limits that stand above in the reader's language."""
    known = {
        "greater_than_equal": _("input should be greater than or equal to %(ge)s"),
        "less_than_equal": _("input should be less than or equal to %(le)s"),
        "int_type": _("input should be a valid integer"),
        "float_type": _("input should be a valid number"),
        "string_type": _("input should be a valid string"),
        "string_too_long": _("string should have at most %(max_length)s characters"),
        "string_too_short": _("string should have at least %(min_length)s characters"),
        "too_long": _("list should have at most %(max_length)s items"),
    }
    if says := known.get(problem["type"]):
        return says % problem.get("ctx", {})
    return f"{problem['msg'][0].lower()}{problem['msg'][1:]}"


def _allowed(where: str) -> str:
    return {
        "kind": _("allowed: %s") % ", ".join(AgentKind),
        "model": _('allowed: "%s" or the name of a model (letters, digits and . _ : / @ + -)') % SCRIPTED,
        "language": _('allowed: two small letters, for example "en" or "ru"'),
        "tools": _("a tool's name is small letters, digits and underscores, at most 64, beginning with a letter"),
    }.get(where.split(".", 1)[0], _("a value is needed"))


def _fields(path: tuple[int | str, ...]) -> list[str]:
    shape: Any = AgentConfig
    for part in path:
        shape = shape.model_fields[part].annotation
        shape = next((one for one in get_args(shape) if isinstance(one, type)), shape)
    return list(shape.model_fields)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
