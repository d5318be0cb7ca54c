"""The service may own its database and be no superuser: FORCE must not blind it, and isolation must still hold."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from tests import raw
from tests.processes import manage, running

pytestmark = pytest.mark.django_db(transaction=True)

USE = """
import json, django; django.setup()
from django.db import connection
from config import rls
from conversations import keys, log, sessions
from conversations.isolation import acting_as
a, b = (sessions.open(user)[0].pk for user in (1, 2))
for each in (a, b):
    log.append(each, "user", "hi", external_id="x"); log.append_many(each, [{"role": "user", "content": "more"}])
found = {"service": [log.count(a), log.count(b), log.clear(b, by="t")], "available": rls.available()}
_, token = keys.create("bound", by="t", user_id=1)
try:
    caller = keys.authenticate(token)
    with acting_as(caller.user_id):
        found["client"] = [log.count(a), log.count(b), len(log.history(a)), log.append(a, "user", "x").message_index]
except keys.IsolationUnavailableError as error:
    found["refused"] = str(error)
with connection.cursor() as cursor:
    cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    found["superuser"] = cursor.fetchone()[0]
print(json.dumps(found))
"""


@dataclass
class Place:
    """A role and the database it owns."""

    role: str
    url: str


@pytest.fixture
def place(transactional_db: None) -> Iterator[Place]:
    """pgvector can be created by a superuser alone, so it is there already, as an operator would put it."""
    name = f"owner_{secrets.token_hex(4)}"
    with raw.connect() as admin:
        role = sql.Identifier(name)
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOBYPASSRLS").format(role))
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))
        with raw.connect(dbname=name) as inside:
            inside.execute("CREATE EXTENSION vector")
        host = quote(raw.parameters()["host"], safe="")
        try:
            yield Place(name, f"postgresql://{name}@{host}:{raw.parameters()['port'] or 5432}/{name}")
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(role))
            if admin.execute("SELECT FROM pg_roles WHERE rolname = 'parley_client'").fetchone():
                admin.execute(sql.SQL("REVOKE parley_client FROM {}").format(role))
            admin.execute(sql.SQL("DROP ROLE {}").format(role))


def migrated(place: Place) -> str:
    with manage("migrate", "conversations", "-v0", DATABASE_URL=place.url) as process:
        said = process.everything()
        assert process.exit_code() == 0, said
        return said


def used(place: Place) -> dict[str, object]:
    variables = {"DATABASE_URL": place.url, "DJANGO_SETTINGS_MODULE": "config.settings"}
    with running(sys.executable, "-c", USE, **variables) as process:
        found: dict[str, object] = json.loads(process.wait_for(r"^\{.*\}$").group(0))
    return found


def let_in(place: Place, how: str) -> None:
    with raw.connect() as admin:
        admin.execute("DO $$ BEGIN CREATE ROLE parley_client NOLOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
        admin.execute(sql.SQL("GRANT parley_client TO {} " + how).format(sql.Identifier(place.role)))  # type: ignore[arg-type]


WORKS = {"service": [2, 2, 2], "available": True, "client": [2, 0, 2, 2], "superuser": False}


def test_an_owner_who_may_not_make_roles_is_told_until_an_operator_helps(place: Place) -> None:
    assert "parley_client" in migrated(place)
    found = used(place)
    assert (found["service"], found["available"], "client" in found) == ([2, 2, 2], False, False)
    assert "parley_client" in str(found["refused"])
    let_in(place, "WITH INHERIT TRUE, SET TRUE")  # the client's rights beside our own must not blind us either
    migrated(place)
    assert used(place) == WORKS


def test_an_owner_who_was_let_in_before_needs_nothing_more(place: Place) -> None:
    let_in(place, "WITH INHERIT FALSE, SET TRUE")
    assert "parley_client" not in migrated(place)
    assert used(place) == WORKS


def test_a_role_of_the_same_name_that_steps_around_the_rules_is_not_used() -> None:
    with psycopg.connect(**raw.parameters()) as admin:
        from config import rls

        for right in ("SUPERUSER", "BYPASSRLS"):
            admin.execute(f"ALTER ROLE parley_client {right}")  # type: ignore[arg-type]
            assert admin.execute(rls.MAY_ENTER).fetchone() == (False,)  # type: ignore[arg-type]
            admin.rollback()
        assert admin.execute(rls.MAY_ENTER).fetchone() == (True,)  # type: ignore[arg-type]
