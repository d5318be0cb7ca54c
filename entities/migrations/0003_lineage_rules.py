"""What the database does with every entity table: keep its rows, stamp them, and write down where values come from.

The functions alone; `entities/guarding.py` binds them to each table there is, and to each that comes later.
"""

from django.db import migrations

RULES = """
-- A row is never deleted but hidden; only the audited erasure says otherwise, and takes the row's lineage along. A test
-- database may be emptied.
CREATE FUNCTION entity_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('parley.erasing', true) = 'on' THEN
        IF TG_OP = 'DELETE' THEN
            DELETE FROM entity_changes WHERE entity_type = TG_ARGV[0] AND entity_id = OLD.id;
            RETURN OLD;
        ELSIF current_database() LIKE 'test\\_%' THEN
            RETURN NULL;
        END IF;
    END IF;
    RAISE restrict_violation USING TABLE = TG_TABLE_NAME,
        MESSAGE = format('rows of %s are never deleted: set is_deleted instead of %s', TG_TABLE_NAME, TG_OP);
END $$;

-- What a row is and when it came stays; when it last changed is the database's to say.
CREATE FUNCTION entity_is_stamped() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id IS DISTINCT FROM OLD.id OR NEW.created_at IS DISTINCT FROM OLD.created_at THEN
        RAISE restrict_violation USING TABLE = TG_TABLE_NAME,
            MESSAGE = format('id and created_at of %s never change', TG_TABLE_NAME);
    END IF;
    NEW.updated_at := OLD.updated_at;
    IF NEW IS DISTINCT FROM OLD THEN
        NEW.updated_at := clock_timestamp();
    END IF;
    RETURN NEW;
END $$;

-- One row of lineage per value: whatever columns the table has by now, whoever writes. As the owner, since end users
-- have no rights on lineage; in UTC, so that equal times are equal texts.
CREATE FUNCTION entity_lineage() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path FROM CURRENT SET timezone = 'UTC' AS $$
DECLARE
    origin jsonb := coalesce(nullif(current_setting('parley.origin', true), '')::jsonb, '{}');
    before jsonb := CASE WHEN TG_OP = 'UPDATE' THEN to_jsonb(OLD) ELSE '{}' END;
BEGIN
    INSERT INTO entity_changes (entity_type, entity_id, field, previous, value, action, kind, actor, user_id,
        agent_version, conversation_id, turn_id, message_id, reverts)
    SELECT TG_ARGV[0], NEW.id, now.key, coalesce(before -> now.key, 'null'), now.value,
        CASE TG_OP WHEN 'INSERT' THEN 'create' ELSE 'change' END,
        coalesce(origin ->> 'kind', 'sql'), left(coalesce(nullif(origin ->> 'actor', ''), session_user), 150),
        coalesce((origin ->> 'user_id')::bigint, nullif(current_setting('parley.user_id', true), '')::bigint),
        (origin ->> 'agent_version')::integer, (origin ->> 'conversation_id')::uuid, (origin ->> 'turn_id')::uuid,
        (origin ->> 'message_id')::uuid, (origin ->> 'reverts')::uuid
    FROM jsonb_each(to_jsonb(NEW)) AS now
    WHERE now.key NOT IN ('id', 'created_at', 'updated_at') AND now.value <> coalesce(before -> now.key, 'null');
    RETURN NULL;
END $$;

-- Lineage is written once; erasure may blank what a person said.
CREATE FUNCTION entity_changes_are_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('parley.erasing', true) = 'on' AND (TG_OP <> 'TRUNCATE' OR current_database() LIKE 'test\\_%')
    THEN
        RETURN coalesce(NEW, OLD);
    END IF;
    RAISE restrict_violation USING TABLE = TG_TABLE_NAME,
        MESSAGE = format('%s is append-only: %s is refused', TG_TABLE_NAME, TG_OP);
END $$;
CREATE TRIGGER entity_changes_write_once BEFORE UPDATE OR DELETE ON entity_changes
    FOR EACH ROW EXECUTE FUNCTION entity_changes_are_kept();
CREATE TRIGGER entity_changes_keep_all BEFORE TRUNCATE ON entity_changes EXECUTE FUNCTION entity_changes_are_kept();
"""
UNDO = """
DROP FUNCTION entity_changes_are_kept() CASCADE;
DROP FUNCTION entity_lineage() CASCADE;
DROP FUNCTION entity_is_stamped() CASCADE;
DROP FUNCTION entity_is_kept() CASCADE;
"""


class Migration(migrations.Migration):
    dependencies = [("entities", "0002_lineage")]
    operations = [migrations.RunSQL(RULES, UNDO)]
