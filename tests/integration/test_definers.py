"""Functions that run with their owner's rights: nobody slips an object of his own into their way, or calls them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction
from psycopg import errors, sql

from config import rls
from conversations import log, sessions
from tests import raw

pytestmark = pytest.mark.django_db(transaction=True)

OURS = """
SELECT p.oid::regprocedure::text AS name, p.proconfig AS config,
    EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS allowed
        WHERE allowed.grantee = 0) AS open_to_all
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
"""
SHADOW = "CREATE TEMP TABLE audit_chain (seq bigint, entry_id uuid, hash text)"
AS_THE_OWNER = """
CREATE FUNCTION pg_temp.boom() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    EXECUTE 'CREATE TABLE public.pwned AS SELECT current_user, (SELECT count(*) FROM public.api_keys)';
    RETURN NEW;
END $$;
CREATE TRIGGER boom BEFORE INSERT ON pg_temp.audit_chain FOR EACH ROW EXECUTE FUNCTION pg_temp.boom();
"""
RECORD = """
INSERT INTO audit_log (id, action, actor, on_behalf_of, subject_type, subject_id, details, status)
VALUES (gen_random_uuid(), 'x', 'x', '', 'x', 'x', '{}', 'success')
"""


@pytest.fixture
def temporary() -> Iterator[None]:
    """The database lets everybody make temporary tables, as one that belongs to somebody else does."""
    name = sql.Identifier(connection.settings_dict["NAME"])
    with raw.connect() as admin:
        admin.execute(sql.SQL("GRANT TEMPORARY ON DATABASE {} TO PUBLIC").format(name))
        yield
        admin.execute(sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(name))


@pytest.fixture
def client() -> Iterator[psycopg.Connection[Any]]:
    with raw.connect(autocommit=False) as session:
        session.execute("SELECT set_config('role', 'parley_client', true), set_config('parley.user_id', '1001', true)")
        yield session
        session.rollback()


def test_every_function_with_its_owners_rights_looks_into_temporary_objects_last() -> None:
    with raw.connect() as session:
        found = session.execute(OURS).fetchall()
    assert {str(one["name"]) for one in found} >= {
        "audit_chain_entry()",
        "entity_lineage()",
        "search_forget_messages()",
    }
    for one in found:
        (path,) = (value for value in one["config"] if value.startswith("search_path="))
        assert path == "search_path=pg_catalog, public, pg_temp", one["name"]
        assert not one["open_to_all"], one["name"]


def test_a_client_does_not_become_the_owner(temporary: None, client: psycopg.Connection[Any]) -> None:
    client.execute(SHADOW)
    client.execute(AS_THE_OWNER)
    client.execute(RECORD)
    client.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert client.execute("SELECT count(*) AS n FROM pg_temp.audit_chain").fetchone() == {"n": 0}
    assert client.execute("SELECT to_regclass('public.pwned') AS pwned").fetchone() == {"pwned": None}


@pytest.mark.parametrize("function", ["search_forget_messages()", "entity_lineage('character')", "audit_chain_entry()"])
def test_a_client_binds_no_trigger_to_them(temporary: None, client: psycopg.Connection[Any], function: str) -> None:
    client.execute("CREATE TEMP TABLE t (id uuid)")
    with pytest.raises(errors.InsufficientPrivilege):
        client.execute(f"CREATE TRIGGER x AFTER INSERT ON pg_temp.t FOR EACH ROW EXECUTE FUNCTION {function}")  # type: ignore[arg-type]


def test_a_client_makes_no_temporary_table(client: psycopg.Connection[Any]) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        client.execute("CREATE TEMP TABLE t (id uuid)")


def test_their_triggers_work_for_a_client() -> None:
    conversation = sessions.open(1001)[0]
    with raw.connect(autocommit=False) as session:
        session.execute("SELECT set_config('role', 'parley_client', true), set_config('parley.user_id', '1001', true)")
        session.execute("SELECT append_message(%s, 'user', 'hello')", [conversation.pk])
        session.execute(RECORD)
        session.execute("INSERT INTO characters (name, created_by) VALUES ('Ann', 1001)")
        session.commit()
    assert log.count(conversation.pk) == 1
    with raw.connect() as session:
        assert session.execute("SELECT count(*) > 0 AS ok FROM entity_changes WHERE user_id = 1001").fetchone() == {
            "ok": True
        }
        assert session.execute(
            "SELECT count(*) AS n FROM audit_log l WHERE NOT EXISTS (SELECT FROM audit_chain WHERE entry_id = l.id)"
        ).fetchone() == {"n": 0}


def test_a_function_in_another_schema_keeps_to_its_own() -> None:
    schema = f"s_{secrets.token_hex(3)} x"
    name = sql.Identifier(schema).as_string()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {name}")
        cursor.execute(f"SET LOCAL search_path = {name}, public")
        cursor.execute("CREATE FUNCTION definer() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'")
        rls.heal(cursor)
        cursor.execute("SELECT proconfig FROM pg_proc WHERE oid = 'definer()'::regprocedure")
        assert cursor.fetchone() == ([f"search_path=pg_catalog, {name}, pg_temp"],)
        transaction.set_rollback(True)
