"""The rules that rooms declare cannot be dropped, renamed or switched off by a slip, whoever asks (docs/adr/0141).

The database knows their names from `parley_guard.rules()`: those that a room declares (config/rules.py) and that stood
when they were last looked at, which is before and after every migrate. So a migration drops what its release no longer
declares, and what somebody took away under a permission holds nobody up.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.db import ProgrammingError, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.migrations import Migration
from psycopg import sql

from config import rules
from config.rules import Rule

Named = set[Rule]

FUNCTIONS = """
-- What stands is taken up once the migrations are through: none of them is held up by its own past.
DO $do$ BEGIN
    IF to_regproc('parley_guard.rules') IS NULL THEN
        CREATE FUNCTION parley_guard.rules() RETURNS TABLE (tab text, name text, kind text)
        LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$ SELECT '', '', '' WHERE false $$;
    END IF;
END $do$;

-- Those that are to stand and do not. A table that is gone takes its rules along: others refuse that.
CREATE OR REPLACE FUNCTION parley_guard.fallen() RETURNS TABLE (owner oid, tab text, name text, kind text)
LANGUAGE sql STABLE SET search_path = pg_catalog, parley_guard AS $$
    SELECT found.oid, rule.tab, rule.name, rule.kind FROM parley_guard.rules() AS rule
    JOIN pg_class AS found ON found.relname = rule.tab
    JOIN pg_namespace AS ours ON ours.oid = found.relnamespace AND ours.nspname = '{schema}'
    WHERE CASE rule.kind
        WHEN 'trigger' THEN NOT EXISTS (SELECT FROM pg_trigger
            WHERE tgrelid = found.oid AND tgname = rule.name AND tgenabled IN ('O', 'A'))
        ELSE NOT EXISTS (SELECT FROM pg_index JOIN pg_class AS named ON named.oid = indexrelid
            WHERE indrelid = found.oid AND named.relname = rule.name AND indisunique AND indisvalid) END
$$;

CREATE OR REPLACE FUNCTION parley_guard.refuse_rule(deed text, tab text, name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, parley_guard AS $$
BEGIN
    PERFORM parley_guard.refuse_as(deed, format('%I.%I.%I', '{schema}', tab, name),
        'The database keeps a promise with it.', 'A migration may, once no rules.py declares it.');
END $$;

CREATE OR REPLACE FUNCTION parley_guard.keep_rules() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, parley_guard AS $$
DECLARE
    lost record;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_event_trigger_dropped_objects()
        WHERE schema_name = '{schema}' AND object_type IN ('trigger', 'index'))
    THEN
        RETURN;
    END IF;
    FOR lost IN SELECT rule.* FROM parley_guard.fallen() AS rule JOIN pg_event_trigger_dropped_objects() AS gone
        ON schema_name = '{schema}' AND (rule.kind = 'trigger' AND object_type = 'trigger'
            AND address_names[2:] = ARRAY[rule.tab, rule.name]
            OR rule.kind = 'unique' AND object_type = 'index' AND address_names[2] = rule.name)
    LOOP
        PERFORM parley_guard.refuse_rule('dropping a rule', lost.tab, lost.name);
    END LOOP;
END $$;

-- Switched off, or known by another name: no event tells which, so all rules of the table are looked at. What was off
-- before this transaction is not its doing; it may be switching on one of two.
CREATE OR REPLACE FUNCTION parley_guard.keep_rules_on() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, parley_guard AS $$
DECLARE
    lost record;
BEGIN
    FOR lost IN SELECT DISTINCT rule.* FROM pg_event_trigger_ddl_commands() JOIN parley_guard.fallen() AS rule
        ON rule.owner = CASE classid
            WHEN 'pg_class'::regclass THEN coalesce((SELECT indrelid FROM pg_index WHERE indexrelid = objid), objid)
            WHEN 'pg_trigger'::regclass THEN (SELECT tgrelid FROM pg_trigger WHERE oid = objid)
            WHEN 'pg_constraint'::regclass THEN (SELECT conrelid FROM pg_constraint WHERE oid = objid) END
        WHERE NOT EXISTS (SELECT FROM pg_trigger WHERE rule.kind = 'trigger' AND tgrelid = rule.owner
            AND tgname = rule.name AND age(xmin) > age(pg_current_xact_id()::xid))
    LOOP
        PERFORM parley_guard.refuse_rule('switching off or renaming a rule', lost.tab, lost.name);
    END LOOP;
END $$;

-- DROP INDEX CONCURRENTLY has switched the index off, for good, before anything tells that it is gone. It stands alone,
-- in no block and no function, so that the statement's own words name it.
CREATE OR REPLACE FUNCTION parley_guard.keep_rules_in_the_background() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, parley_guard AS $$
DECLARE
    words text[] := regexp_split_to_array(lower(current_query()), '\\W+');
    lost record;
BEGIN
    FOR lost IN SELECT * FROM parley_guard.rules()
        WHERE kind = 'unique' AND 'concurrently' = ANY (words) AND lower(name) = ANY (words)
    LOOP
        PERFORM parley_guard.refuse_rule('dropping a rule in the background', lost.tab, lost.name);
    END LOOP;
END $$;
"""
RULES = """
CREATE OR REPLACE FUNCTION parley_guard.rules() RETURNS TABLE (tab text, name text, kind text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
    SELECT * FROM unnest({tables}::text[], {names}::text[], {kinds}::text[])
$$;
"""
EVENTS = """
DROP EVENT TRIGGER IF EXISTS parley_keep_rules;
DROP EVENT TRIGGER IF EXISTS parley_keep_rules_on;
DROP EVENT TRIGGER IF EXISTS parley_keep_rules_in_the_background;
CREATE EVENT TRIGGER parley_keep_rules ON sql_drop EXECUTE FUNCTION parley_guard.keep_rules();
CREATE EVENT TRIGGER parley_keep_rules_on ON ddl_command_end WHEN TAG IN ('ALTER TABLE', 'ALTER TRIGGER', 'ALTER INDEX')
    EXECUTE FUNCTION parley_guard.keep_rules_on();
CREATE EVENT TRIGGER parley_keep_rules_in_the_background ON ddl_command_start WHEN TAG IN ('DROP INDEX')
    EXECUTE FUNCTION parley_guard.keep_rules_in_the_background();
"""
TRIGGERS = ("parley_keep_rules", "parley_keep_rules_on", "parley_keep_rules_in_the_background")


class KeptWarning(UserWarning):
    """The database was not told which rules it is to keep."""


def known(cursor: CursorWrapper) -> Named | None:
    """Those that the database keeps; None where the guard was not put in place."""
    cursor.execute("SELECT to_regproc('parley_guard.rules') IS NOT NULL")
    if not cursor.fetchone()[0]:
        return None
    cursor.execute("SELECT * FROM parley_guard.rules()")
    return {Rule(*row) for row in cursor.fetchall()}


def keep(cursor: CursorWrapper, named: Named) -> None:
    """These, and no others."""
    columns = [list(column) for column in zip(*sorted(named), strict=True)] or [[], [], []]
    places = zip(("tables", "names", "kinds"), map(sql.Literal, columns), strict=True)
    cursor.execute(sql.SQL(RULES).format(**dict(places)))


def keep_what_stands(**_signal: Any) -> None:
    """After every migrate, and before: whatever is declared and stands. Two short queries where nothing has changed."""
    with connection.cursor() as cursor:
        before = known(cursor)
        if before is None or before == (now := rules.standing() | _of_others(before)):
            return
        _told(cursor, now)


def _of_others(known: Named) -> Named:
    """Rules of tables that no installed app has: of an app that other settings install."""
    tables = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    tables |= {rule.table for rule in rules.declared()}
    return {rule for rule in known if rule.table not in tables}


@contextmanager
def while_migrating(plan: Sequence[tuple[Migration, bool]]) -> Iterator[None]:
    """What this release no longer declares may go; on the way back, whatever a migration made."""
    keep_what_stands()
    if not any(backwards for _migration, backwards in plan):
        yield
        return
    with connection.cursor() as cursor:
        if known(cursor):
            _told(cursor, set())
    try:
        yield
    finally:
        if connection.is_usable():
            keep_what_stands()


def unkept() -> list[str]:
    """Rules that stand and that the database would let go."""
    with connection.cursor() as cursor:
        return sorted(map(str, rules.standing() - (known(cursor) or set())))


def _told(cursor: CursorWrapper, named: Named) -> None:
    try:
        with transaction.atomic(using=cursor.db.alias):
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('parley_guard.rules', 0))")
            keep(cursor, named)
    except ProgrammingError as error:
        if getattr(error.__cause__, "sqlstate", "") != "42501":
            raise
        told = "parley_guard belongs to another role. Let that one, or a superuser, run `manage.py guard`."
        warnings.warn(told, KeptWarning, stacklevel=2)
