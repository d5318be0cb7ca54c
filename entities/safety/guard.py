"""The database's own refusal: event triggers that keep our tables and columns, whoever asks (docs/adr/0119).

They refuse to drop or rename a table or a column of ours, to rewrite a filled one for a new type, and to take away or
switch off a rule that a room declares (`kept`). Other indexes, views, constraints, temporary tables, other schemas and
Django's own tables are free. A superuser may, once and on record:

    BEGIN; SELECT parley_guard.permit('public.notes.title', 'why'); ALTER TABLE notes DROP COLUMN title; COMMIT;
"""

from __future__ import annotations

import warnings

from django.db import InternalError, ProgrammingError, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.utils.translation import gettext as _

from config.health import Result
from entities.safety import kept

TRIGGERS = ("parley_keep_tables", "parley_keep_names", "parley_keep_types", *kept.TRIGGERS)

# A schema of their own: DROP SCHEMA public CASCADE would take them away before it asks them.
FUNCTIONS = """
CREATE SCHEMA IF NOT EXISTS parley_guard;
-- The permission is the record of it: a row of the audit log, written in the transaction that it permits.
CREATE OR REPLACE FUNCTION parley_guard.permit(what text, why text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, parley_guard AS $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) THEN
        RAISE insufficient_privilege USING MESSAGE = 'only a superuser may permit this';
    END IF;
    IF coalesce(trim(why), '') = '' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'say why';
    END IF;
    INSERT INTO {schema}.audit_log (action, actor, subject_type, subject_id, details)
    VALUES ('schema.permit', left('database:' || session_user, 100), 'schema', what,
            jsonb_build_object('why', why, 'transaction', pg_current_xact_id()::text));
END $$;

CREATE OR REPLACE FUNCTION parley_guard.permitted(what text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, parley_guard AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM {schema}.audit_log WHERE subject_type = 'schema' AND subject_id = what AND action = 'schema.permit'
            AND details ->> 'transaction' = pg_current_xact_id_if_assigned()::text
    ) AND (SELECT rolsuper FROM pg_roles WHERE rolname = session_user);
END $$;

CREATE OR REPLACE FUNCTION parley_guard.refuse_as(deed text, what text, because text, otherwise text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, parley_guard AS $$
DECLARE
    permitted boolean := false;
BEGIN
    IF to_regclass('{schema}.audit_log') IS NOT NULL THEN
        permitted := parley_guard.permitted(what);
    END IF;
    IF NOT permitted THEN
        RAISE restrict_violation USING MESSAGE = format('%s is refused: %s', deed, what),
            DETAIL = because, HINT = format('%s A superuser may, on record: '
                'BEGIN; SELECT parley_guard.permit(%L, ''why''); ...; COMMIT;', otherwise, what);
    END IF;
END $$;

CREATE OR REPLACE FUNCTION parley_guard.refuse(deed text, what text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, parley_guard AS $$
BEGIN
    PERFORM parley_guard.refuse_as(deed, what, 'What people and agents wrote is never dropped, renamed or narrowed.',
        'Hide it instead: manage.py mechanic revert.');
END $$;

CREATE OR REPLACE FUNCTION parley_guard.keep_tables() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, parley_guard AS $$
DECLARE
    lost record;
BEGIN
    FOR lost IN SELECT object_type, object_identity, address_names FROM pg_event_trigger_dropped_objects()
        WHERE object_type IN ('table', 'table column', 'foreign table') AND NOT is_temporary
            AND schema_name = '{schema}' AND address_names[2] !~ '^(django|auth)_'
    LOOP
        PERFORM parley_guard.refuse(format('dropping a %s', lost.object_type), lost.object_identity);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION parley_guard.keep_names() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, parley_guard AS $$
DECLARE
    altered record;
BEGIN
    FOR altered IN SELECT DISTINCT object_type, object_identity, objid FROM pg_event_trigger_ddl_commands()
        WHERE classid = 'pg_class'::regclass AND schema_name = '{schema}' AND object_type IN ('table', 'table column')
            AND split_part(object_identity, '.', 2) !~ '^(django|auth)_'
    LOOP
        -- Of all ALTER TABLE, only a renamed column is reported as a column. A renamed table is known by its primary
        -- key, which keeps the name it was born with.
        IF altered.object_type = 'table column' OR EXISTS (
            SELECT FROM pg_constraint AS key JOIN pg_class AS named ON named.oid = key.conrelid
            WHERE key.conrelid = altered.objid AND key.contype = 'p' AND key.conname LIKE '%\\_pkey'
                AND key.conname <> left(named.relname, 58) || '_pkey'
        ) THEN
            PERFORM parley_guard.refuse(format('renaming a %s', altered.object_type), altered.object_identity);
        END IF;
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION parley_guard.keep_types() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, parley_guard AS $$
DECLARE
    target oid := pg_event_trigger_table_rewrite_oid();
    identity text;
BEGIN
    SELECT format('%I.%I', namespace.nspname, rewritten.relname) INTO identity
    FROM pg_class AS rewritten JOIN pg_namespace AS namespace ON namespace.oid = rewritten.relnamespace
    WHERE rewritten.oid = target AND namespace.nspname = '{schema}' AND rewritten.relpersistence <> 't'
        AND rewritten.relname !~ '^(django|auth)_';
    -- 4: the type of a column changes. A table without a page has nothing to lose.
    IF identity IS NOT NULL AND pg_event_trigger_table_rewrite_reason() & 4 <> 0 AND pg_relation_size(target) > 0 THEN
        PERFORM parley_guard.refuse('changing the type of a column', identity);
    END IF;
END $$;
"""
EVENTS = """
DROP EVENT TRIGGER IF EXISTS parley_keep_tables;
DROP EVENT TRIGGER IF EXISTS parley_keep_names;
DROP EVENT TRIGGER IF EXISTS parley_keep_types;
CREATE EVENT TRIGGER parley_keep_tables ON sql_drop EXECUTE FUNCTION parley_guard.keep_tables();
CREATE EVENT TRIGGER parley_keep_names ON ddl_command_end WHEN TAG IN ('ALTER TABLE')
    EXECUTE FUNCTION parley_guard.keep_names();
CREATE EVENT TRIGGER parley_keep_types ON table_rewrite EXECUTE FUNCTION parley_guard.keep_types();
"""
MISSING = (
    "This role may not create event triggers, so the database itself does not refuse to drop tables and columns; "
    "`makemigrations` and `migrate` still do. Let a superuser run: manage.py guard --sql | psql {database}"
)


class GuardWarning(UserWarning):
    """The database does not refuse by itself."""


def install(cursor: CursorWrapper) -> bool:
    """Put the guard in place; where the role may not, warn with what a superuser can run."""
    cursor.execute(functions(cursor))
    try:
        with transaction.atomic(using=cursor.db.alias):
            cursor.execute(EVENTS + kept.EVENTS)
    except (ProgrammingError, InternalError) as error:
        if getattr(error.__cause__, "sqlstate", "") != "42501":
            raise
        cursor.execute("SELECT current_database()")
        warnings.warn(MISSING.format(database=cursor.fetchone()[0]), GuardWarning, stacklevel=2)
        return False
    return True


def functions(cursor: CursorWrapper) -> str:
    """The functions for the schema our tables are in."""
    cursor.execute("SELECT current_schema()")
    return (FUNCTIONS + kept.FUNCTIONS).replace("{schema}", cursor.fetchone()[0].replace("'", "''"))


def missing() -> list[str]:
    """Triggers that do not stand, or are switched off."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT evtname FROM pg_event_trigger WHERE evtenabled IN ('O', 'A')")
        standing = {name for (name,) in cursor.fetchall()}
    return [name for name in TRIGGERS if name not in standing]


def guard() -> Result:
    """Does the database itself refuse to drop what is ours?"""
    gone = missing()
    if not gone and (free := kept.unkept()):
        detail = _("the database would let go of: %s") % ", ".join(free)
        return Result("guard", False, detail, _("Run `manage.py guard`."))
    if not gone:
        return Result("guard", True, _("tables, columns and rules cannot be dropped, renamed or narrowed"))
    fix = _("As a superuser: `manage.py guard --sql | psql` with this database, or `manage.py guard`.")
    return Result("guard", False, _("the database does not refuse by itself: no %s") % ", ".join(gone), fix)
