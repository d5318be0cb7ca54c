"""Reading a body: stricter than `json.loads`, which takes what PostgreSQL or the next reader refuses (ADR 0041)."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from django.http import HttpRequest
from ninja.parser import Parser

from conversations.api.errors import ApiError

DEPTH = 33  # of the whole body: metadata may be 32 deep
NAMES = 1_050  # metadata may have 1,000
VALUES = 35_000  # more do not fit into 64 kB of metadata
INT64 = range(-(2**63), 2**63)
DIGITS = 20
# A string is skipped as a whole, also one that never ends: nothing is looked at twice, whatever is sent.
TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{}:,]', re.DOTALL)
ESCAPED = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")  # the only ways to a NUL or half a surrogate pair


class StrictParser(Parser):
    """The parser of every call."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        _refuse_other_media(request)
        return read(request.body)


def read(body: bytes) -> dict[str, Any]:
    """One JSON object, or an ApiError that says what is wrong with it."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ApiError(400, "invalid_utf8", f"The body is not UTF-8 at byte {error.start}.") from error
    if not text.strip(" \t\r\n"):
        raise ApiError(400, "empty_body", "A JSON object is expected in the body.")
    _refuse_complex(text)
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise ApiError(400, "invalid_json", f"The body is not JSON: {error.msg} at {where}.") from error
    if not isinstance(value, dict):
        raise ApiError(400, "not_an_object", "The body must be a JSON object.")
    if ESCAPED.search(text):
        _refuse_characters(value)
    return value


def _refuse_other_media(request: HttpRequest) -> None:
    charset = (request.content_params or {}).get("charset", "utf-8").lower()
    if request.content_type != "application/json" or charset not in {"utf-8", "utf8"}:
        raise ApiError(415, "unsupported_media_type", "Send application/json in UTF-8.")
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
        raise ApiError(415, "unsupported_encoding", "Send the body as it is, not compressed.")


def _refuse_complex(text: str) -> None:
    """Count before anything is built, and stop at the limit: what is too complex costs next to nothing."""
    depth = names = values = 0
    for token in TOKEN.finditer(text):
        match token[0]:
            case "{" | "[":
                depth += 1
            case "}" | "]":
                depth -= 1
            case ":":
                names += 1
            case ",":
                values += 1
        if depth > DEPTH or names > NAMES or values > VALUES:
            raise ApiError(400, "too_complex", "The body is nested too deep or has too many names or values.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ApiError(400, "duplicate_field", "A name is given twice.", field=_printable(twice))
    return value


def _constant(_name: str) -> NoReturn:
    raise ApiError(400, "number_out_of_range", "NaN and Infinity are not JSON.")


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ApiError(400, "number_out_of_range", "A number is too large.")
    return number


def _int(digits: str) -> int:
    if len(digits) > DIGITS or (number := int(digits)) not in INT64:
        raise ApiError(400, "number_out_of_range", "Integers must fit into 64 bits.")
    return number


def _refuse_characters(value: Any) -> None:
    for path, text in _texts(value, ()):
        if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
            raise ApiError(
                400,
                "invalid_character",
                "U+0000 and half surrogate pairs cannot be stored.",
                field=_printable(".".join(path)),
            )


def _texts(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every string, names included, and where it stands."""
    match value:
        case str():
            yield path, value
        case dict():
            for name, inner in value.items():
                yield path, name
                yield from _texts(inner, (*path, name))
        case list():
            for position, inner in enumerate(value):
                yield from _texts(inner, (*path, str(position)))


def _printable(name: str) -> str:
    return name.encode("ascii", "backslashreplace").decode().replace("\0", "\\x00")[:200]
