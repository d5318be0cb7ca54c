"""A small story to look at: a project with people, ideas and a note, and values that changed once."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from config import origin
from config.origin import Origin
from entities import keeping, loader
from entities.models import Writer

BY = "demo"
PROJECT = "Переезд / The move"
CHARACTERS: list[dict[str, Any]] = [
    {"name": "Нина", "role": "главная героиня", "age": 33, "traits": ["упрямая", "добрая"]},
    {"name": "Tomas", "role": "the landlord", "age": 58, "traits": ["talkative"]},
]
IDEAS: list[dict[str, Any]] = [
    {"title": "Письма домой", "text": "Каждая глава заканчивается письмом, которое не отправили.", "tags": ["форма"]},
    {
        "title": "Two clocks",
        "text": "A clock in the kitchen still shows the time of the city she left.",
        "status": "kept",
    },
]


def load(*, anyway: bool) -> str:
    """A second run changes nothing, nor does one where a table is missing or, unless `anyway`, holds other projects."""
    tables = [loader.MODELS.get(name) for name in ("projects", "characters", "ideas", "notes")]
    if None in tables:
        return "a table is missing, see `manage.py check`"
    projects, characters, ideas, notes = (table for table in tables if table is not None)
    named: Any = {"name": PROJECT}
    if projects._default_manager.filter(**named).exists():
        return "there already"
    if not anyway and projects._default_manager.exists():
        return "there are projects already"
    with transaction.atomic(), origin.written_by(Origin(Writer.SYSTEM, BY)):
        described = {"name": PROJECT, "description": "A novel about a year in a new city."}
        project = keeping.create(projects, values=described, by=BY)
        people = [keeping.create(characters, values={**one, "project": project}, by=BY) for one in CHARACTERS]
        for one in IDEAS:
            keeping.create(ideas, values={**one, "project": project}, by=BY)
        keeping.change(people[0], values={"age": 34}, by=BY)
        told = {"title": "Ask about the cats", "text": "Нина приехала с двумя кошками: спросить, как их зовут."}
        keeping.create(notes, values={**told, "character": people[0], "project": project}, by=BY)
    return f"{len(CHARACTERS)} characters, {len(IDEAS)} ideas, a project and a note"
