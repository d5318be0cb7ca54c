"""Reads SQL as far as the rules need: which statements would lose data, break old code, or hold everybody up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

DO_IT_IN_STEPS = "Add beside it what you need, fill it in batches, and leave the old one where it is."
HIDE = "Leave it and stop using it: `is_deleted` for rows, `manage.py mechanic revert` hides columns and tables."
IN_THE_BACKGROUND = "AddIndexConcurrently, alone in a migration with `atomic = False`."

PIECE = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)
    |(?P<text>[eE]?'(?:[^']|'')*')
    |(?P<body>\$(?P<tag>[A-Za-z_]*)\$.*?\$(?P=tag)\$)
    |(?P<end>;)""",
    re.DOTALL | re.VERBOSE,
)
NAME = r'(?:[\w"]+\.)?"?(?P<table>\w+)"?'
ALTER = rf"\bALTER\s+(?:FOREIGN\s+)?TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?{NAME}"
CREATED = re.compile(rf"^\s*CREATE\s+(?:UNLOGGED\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{NAME}", re.IGNORECASE)
STORED_CODE = re.compile(r"^\s*CREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Rule:
    """What a statement looks like, why it is refused, and what to write in its place."""

    looks: re.Pattern[str]
    reason: str
    instead: str


def _rule(looks: str, reason: str, instead: str) -> Rule:
    return Rule(re.compile(looks, re.IGNORECASE | re.DOTALL), reason, instead)


NEVER = [
    _rule(rf"\bDROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?{NAME}", "drops a table and all its rows", HIDE),
    _rule(r"\bDROP\s+(SCHEMA|DATABASE|EXTENSION|OWNED|SEQUENCE)\b", "drops more than a migration may", HIDE),
    _rule(
        rf"{ALTER}\b.*?\bDROP\s+(?!CONSTRAINT\b|DEFAULT\b|NOT\b|EXPRESSION\b|IDENTITY\b)(?:COLUMN\b)?",
        "drops a column and what is in it",
        HIDE,
    ),
    _rule(
        rf"(?<!BEFORE )(?<!AFTER )(?<!OR )(?<!, )(?<!GRANT )\bTRUNCATE\s+(?:TABLE\s+)?(?:ONLY\s+)?(?!ON\b){NAME}",
        "empties a table",
        HIDE,
    ),
    _rule(rf"\bDELETE\s+FROM\s+(?:ONLY\s+)?{NAME}", "deletes rows", HIDE),
    _rule(rf"{ALTER}\s+RENAME\b", "renames what running code and other people's SQL know", DO_IT_IN_STEPS),
    _rule(rf"{ALTER}\s+SET\s+SCHEMA\b", "moves what running code and other people's SQL know", DO_IT_IN_STEPS),
    _rule(
        rf"{ALTER}\b.*?\bALTER\s+(?:COLUMN\s+)?\S+\s+(?:SET\s+DATA\s+)?TYPE\b",
        "changes a column's type: values may not fit, and the table is rewritten under a lock",
        DO_IT_IN_STEPS,
    ),
    _rule(
        rf"{ALTER}\b.*?\bSET\s+NOT\s+NULL\b",
        "makes a column NOT NULL: old code that leaves it out fails, and the table is read under a lock",
        "AddConstraintNotValid with a CheckConstraint, and ValidateConstraint in the next migration.",
    ),
    _rule(
        rf"{ALTER}\b.*?\bADD\s+(?:COLUMN\s+)?(?:IF\s+NOT\s+EXISTS\s+)?"
        r"(?!CONSTRAINT\b|CHECK\b|UNIQUE\b|PRIMARY\b|FOREIGN\b|NOT\b)"
        r"[^,;]*\bNOT\s+NULL\b(?![^,;]*\b(?:DEFAULT|GENERATED)\b)(?<!DEFAULT)",
        "adds a column NOT NULL without a default",
        "Make it nullable, or give it a default in the database.",
    ),
    _rule(
        rf"\bCREATE\s+(?:UNIQUE\s+)?INDEX\s+(?!CONCURRENTLY\b)[^;(]*?\bON\s+(?:ONLY\s+)?{NAME}",
        "builds an index while nobody can write",
        "CREATE INDEX CONCURRENTLY, alone, with `atomic = False`.",
    ),
    _rule(
        r"\b(VACUUM\s+FULL|CLUSTER\b|LOCK\s+TABLE|REINDEX\s+(?!.*CONCURRENTLY))",
        "locks a table for long",
        "Nothing: a migration does not do this.",
    ),
]


@dataclass(frozen=True)
class Found:
    """A rule that was broken, and by which statement."""

    statement: str
    table: str
    reason: str
    instead: str


def split(text: str) -> Iterator[str]:
    """Statements without comments and literal texts. Of functions only the head is kept; DO blocks run now and stay."""
    statement = ""
    at = 0
    for piece in PIECE.finditer(text):
        statement += text[at : piece.start()]
        at = piece.end()
        if piece["end"]:
            yield statement.strip()
            statement = ""
        elif piece["body"] and not STORED_CODE.match(statement):
            inner = piece["body"][len(piece["tag"]) + 2 : -len(piece["tag"]) - 2]
            statement += " " + " ".join(split(inner + ";")) + " "
        elif piece["text"] or piece["body"]:
            # What stands in quotes may be SQL for EXECUTE; outside of DO blocks it is a value.
            statement += piece["text"].replace("'", " ") if _runs_code(statement) and piece["text"] else "''"
        else:
            statement += " "
    statement += text[at:]
    if statement.strip():
        yield statement.strip()


def _runs_code(statement: str) -> bool:
    return bool(re.search(r"\bEXECUTE\s*(?:format\s*\(\s*)?$", statement, re.IGNORECASE))


def created(text: str) -> set[str]:
    """Tables this SQL makes."""
    return {match["table"] for statement in split(text) if (match := CREATED.match(statement))}


def broken(text: str, new: set[str]) -> Iterator[Found]:
    """Every rule this SQL breaks; what it does to a table that is new hurts nobody."""
    new = set(new)
    for statement in split(text):
        if made := CREATED.match(statement):
            new.add(made["table"])
            continue
        if re.match(r"\s*CREATE\s+(TEMP|TEMPORARY)\b", statement, re.IGNORECASE):
            continue
        for rule in NEVER:
            match = rule.looks.search(statement)
            if match is None:
                continue
            table = match.groupdict().get("table") or ""
            if table not in new or not table:
                yield Found(" ".join(statement.split())[:200], table, rule.reason, rule.instead)
                break
