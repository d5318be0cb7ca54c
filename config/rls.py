"""Row-level security: the role user-bound API keys act as, and the protection of a table (ADR 0022).

Everybody but `parley_client` is service code and sees all rows, owner or not, superuser or not. `parley_client` sees
the rows of the user in `parley.user_id`, and none where that is not set.
"""

from __future__ import annotations

import warnings

from django.db import connection
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.utils import CursorWrapper
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from psycopg import sql

CLIENT = "parley_client"
ACTING_USER = "nullif(current_setting('parley.user_id', true), '')::bigint"  # '' is what a finished SET LOCAL leaves

# Roles belong to the cluster, and several databases may be migrated at once: whoever comes second finds it made.
CREATE_ROLE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'parley_client') THEN
        CREATE ROLE parley_client NOLOGIN NOSUPERUSER NOBYPASSRLS NOINHERIT;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN NULL;  -- told in words by make_client_role
END $$
"""
# INHERIT FALSE: our own role may become the client but does not hold the client's rights beside its own.
GRANT_ROLE = """
DO $$
BEGIN
    IF current_setting('server_version_num')::integer < 160000 THEN
        GRANT parley_client TO CURRENT_USER;
    ELSE
        GRANT parley_client TO CURRENT_USER WITH INHERIT FALSE, SET TRUE;
    END IF;
EXCEPTION
    WHEN insufficient_privilege OR undefined_object THEN NULL;
    WHEN internal_error THEN NULL;  -- "tuple concurrently updated": another database's migration grants it just now
END $$
"""
MAY_ENTER = """
SELECT coalesce(
    (SELECT pg_has_role(session_user, oid, CASE WHEN current_setting('server_version_num')::integer < 160000
        THEN 'MEMBER' ELSE 'SET' END) AND NOT rolbypassrls AND NOT rolsuper
     FROM pg_roles WHERE rolname = 'parley_client'), false)
"""
MISSING = (
    "The role `parley_client` is missing or this role may not enter it, so API keys bound to a user are refused. "
    "Let a superuser run: CREATE ROLE parley_client NOLOGIN NOBYPASSRLS; "
    "GRANT parley_client TO {role} WITH INHERIT FALSE, SET TRUE; and then `manage.py migrate` again."
)

# Functions with their owner's rights resolve names in their own schema, and what a caller made temporarily comes last:
# it is searched first where the path does not name it. Triggers fire without the right to execute them. Only the
# database's owner may revoke temporary tables from everybody, and a database of ours is used by nobody else.
CLOSE_DEFINERS = """
DO $$
DECLARE
    definer record;
BEGIN
    FOR definer IN SELECT p.oid::regprocedure AS name, format('pg_catalog, %I, pg_temp', n.nspname) AS path,
            p.proconfig, p.proacl, p.proowner
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE p.prosecdef AND n.nspname = current_schema() AND pg_has_role(p.proowner, 'USAGE')
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    LOOP
        IF NOT coalesce(definer.proconfig, '{}') @> ARRAY['search_path=' || definer.path] THEN
            EXECUTE format('ALTER FUNCTION %s SET search_path = %s', definer.name, definer.path);
        END IF;
        IF EXISTS (SELECT FROM aclexplode(coalesce(definer.proacl, acldefault('f', definer.proowner)))
                WHERE grantee = 0) THEN
            EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', definer.name);
        END IF;
    END LOOP;
    IF has_database_privilege('public', current_database(), 'TEMPORARY') AND EXISTS (SELECT FROM pg_database
            WHERE datname = current_database() AND pg_get_userbyid(datdba) = current_user) THEN
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    END IF;
END $$
"""


class IsolationWarning(UserWarning):
    """Row-level security for API keys cannot be set up in this database."""


def available() -> bool:
    """Can this connection become `parley_client`?"""
    with connection.cursor() as cursor:
        return _may_enter(cursor)


def make_client_role(cursor: CursorWrapper) -> bool:
    """Create the role and let us enter it; where we may not, warn with the commands that somebody else can run."""
    cursor.execute(CREATE_ROLE)
    if not _may_enter(cursor):
        cursor.execute(GRANT_ROLE)
    if _may_enter(cursor):
        return True
    cursor.execute("SELECT quote_ident(current_user)")
    warnings.warn(MISSING.format(role=cursor.fetchone()[0]), IsolationWarning, stacklevel=2)
    return False


def heal(cursor: CursorWrapper) -> None:
    """After every migrate: close the functions that run as their owner, and give the client its rights on every
    protected table again, in case its role came later or a restore lost them."""
    cursor.execute(CLOSE_DEFINERS)
    if not _may_enter(cursor):
        return
    cursor.execute(
        "SELECT c.oid::regclass::text, d.description FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid"
        " JOIN pg_description d ON d.objoid = p.oid AND d.classoid = 'pg_policy'::regclass WHERE p.polname = 'own_rows'"
    )
    for table, rights in cursor.fetchall():
        cursor.execute(f"GRANT {rights} ON {table} TO {CLIENT}")


def protect(cursor: CursorWrapper, table: str, mine: str, rights: str) -> None:
    """What `Protect` does, for a table that no migration names."""
    name = sql.Identifier(table).as_string()
    condition = f"current_user <> '{CLIENT}' OR ({mine})"
    made = make_client_role(cursor)
    cursor.execute(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    cursor.execute(f"CREATE POLICY own_rows ON {name} USING ({condition}) WITH CHECK ({condition})")
    cursor.execute(f"COMMENT ON POLICY own_rows ON {name} IS {sql.Literal(rights).as_string()}")
    if made:
        cursor.execute(f"GRANT {rights} ON {name} TO {CLIENT}")


def narrow(cursor: CursorWrapper, table: str, policy: str, command: str, allowed: str) -> None:
    """One more condition on what the client may INSERT or UPDATE there; what it sees stays.

    A policy per command: one for all of them that asks the same table would ask itself.
    """
    name, rule = sql.Identifier(table).as_string(), sql.Identifier(policy).as_string()
    condition = f"current_user <> '{CLIENT}' OR ({allowed})"
    cursor.execute(f"CREATE POLICY {rule} ON {name} AS RESTRICTIVE FOR {command} WITH CHECK ({condition})")


class Protect(Operation):
    """Migration operation: let `parley_client` see and write only the rows for which `mine` holds.

    `mine` is an SQL condition, most often `f"user_id = {ACTING_USER}"`; `rights` is what GRANT takes. FORCE, so that
    the owner of the table is no exception, and USING and WITH CHECK, so that nobody hands a row to somebody else.
    """

    reversible = True
    reduces_to_sql = True

    def __init__(self, table: str, mine: str, rights: str = "SELECT") -> None:
        self.table, self.mine, self.rights = table, mine, rights

    def state_forwards(self, app_label: str, state: object) -> None:
        """The models do not change."""

    def database_forwards(
        self, _app_label: str, schema_editor: BaseDatabaseSchemaEditor, _from: ProjectState, _to: ProjectState
    ) -> None:
        with schema_editor.connection.cursor() as cursor:
            protect(cursor, self.table, self.mine, self.rights)

    def database_backwards(
        self, _app_label: str, schema_editor: BaseDatabaseSchemaEditor, _from: ProjectState, _to: ProjectState
    ) -> None:
        table = sql.Identifier(self.table).as_string()
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(f"DROP POLICY own_rows ON {table}")
            cursor.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY")
            cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", [CLIENT])
            if cursor.fetchone() is not None:
                cursor.execute(f"REVOKE ALL ON {table} FROM {CLIENT}")

    def describe(self) -> str:
        return f"Protect {self.table} by row-level security"


def _may_enter(cursor: CursorWrapper) -> bool:
    cursor.execute(MAY_ENTER)
    return bool(cursor.fetchone()[0])
