"""Fixtures shared by every test."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.db.backends.postgresql.operations import DatabaseOperations
from django.test import Client, TransactionTestCase
from django.utils import translation

from tests import emptying


@pytest.fixture(autouse=True, scope="session")
def cleanup_may_erase() -> Iterator[None]:
    """Emptying the tables between tests says so, as the erase command does: append-only tables refuse it otherwise."""
    truncate = DatabaseOperations.execute_sql_flush

    def erasing(self: DatabaseOperations, sql_list: Sequence[str]) -> Any:
        return truncate(self, ["SET LOCAL parley.erasing = 'on'", *sql_list])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "execute_sql_flush", erasing)
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _self: emptying.empty())
        yield


@pytest.fixture(autouse=True, scope="session")
def passwords_are_cheap() -> Iterator[None]:
    """A staff account costs a fifth of a second otherwise, and hundreds of tests have one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "PASSWORD_HASHERS", ["django.contrib.auth.hashers.MD5PasswordHasher"])
        yield


@pytest.fixture(autouse=True, scope="session")
def probes_remember_nothing() -> Iterator[None]:
    """Each test is told of its own rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "PROBE_SECONDS", 0.0)
        yield


@pytest.fixture(autouse=True)
def checkpoints_are_closed() -> Iterator[None]:
    """The runtime's own connections end with the test: a database with visitors cannot be dropped."""
    yield
    if checkpoints := sys.modules.get("agents.checkpoints"):
        checkpoints.close()


@pytest.fixture(autouse=True)
def readers_leave_no_language() -> Iterator[None]:
    """A request leaves the language of its reader to whatever its thread does next, here the next test."""
    yield
    translation.deactivate()


@pytest.fixture(autouse=True, scope="session")
def journals_are_ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests that run side by side serve the same bot, each with a journal of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "BOT_JOURNALS", tmp_path_factory.mktemp("journals"))
        yield


@pytest.fixture(scope="module")
def kept_rows(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """For modules of many transactional tests that bring rows of their own: the tables are emptied once, at the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _self: None)
        yield
    with django_db_blocker.unblock():
        emptying.truncate()
        connection.close()


@pytest.fixture
def staff(db: None) -> Client:
    """A browser that the superuser anna is logged in with."""
    from django.contrib.auth.models import User

    client = Client()
    client.force_login(User.objects.create(username="anna", is_staff=True, is_superuser=True))
    return client
