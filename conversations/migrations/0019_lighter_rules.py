"""The same rules of the log for less: what every append pays is one look, and one trigger without a condition."""

from django.db import migrations

# Rows that came numbered by the trigger are counted already, and nearly all do: one look tells. Adding up is for batches.
LOOK_FIRST = """
CREATE OR REPLACE FUNCTION messages_count() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    batch record;
BEGIN
    PERFORM FROM added a LEFT JOIN conversations c ON c.id = a.conversation_id
    WHERE c.message_count IS DISTINCT FROM a.message_index + 1 OR a.deleted_at IS NOT NULL LIMIT 1;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    FOR batch IN
        SELECT a.*, c.message_count IS NOT DISTINCT FROM a.upto AS numbered  -- by the trigger messages_number
        FROM (
            SELECT conversation_id, min(message_index) AS first, max(message_index) + 1 AS upto, count(*) AS number,
                   max(created_at) AS latest, count(deleted_at) AS deleted
            FROM added GROUP BY conversation_id
        ) AS a LEFT JOIN conversations c ON c.id = a.conversation_id
        WHERE c.message_count IS DISTINCT FROM a.upto OR a.deleted > 0
    LOOP
        UPDATE conversations
        SET message_count = batch.upto, deleted_count = deleted_count + batch.deleted, updated_at = clock_timestamp(),
            last_message_at = greatest(last_message_at, least(batch.latest, clock_timestamp()))
        WHERE id = batch.conversation_id
            AND (batch.numbered OR message_count = batch.first AND batch.upto - batch.first = batch.number);
        IF NOT FOUND THEN
            RAISE integrity_constraint_violation USING
                MESSAGE = format('messages %s to %s do not continue conversation %s', batch.first, batch.upto - 1,
                                 batch.conversation_id),
                HINT = 'Leave message_index out: the database numbers messages itself.', TABLE = 'messages';
        END IF;
    END LOOP;
    RETURN NULL;
END $$;
"""
ADD_UP = """
CREATE OR REPLACE FUNCTION messages_count() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    batch record;
BEGIN
    FOR batch IN
        SELECT a.conversation_id, min(a.message_index) AS first, max(a.message_index) + 1 AS upto, count(*) AS number,
               max(a.created_at) AS latest, count(a.deleted_at) AS deleted,
               c.message_count IS NOT DISTINCT FROM max(a.message_index) + 1 AS numbered  -- by the trigger above
        FROM added a LEFT JOIN conversations c ON c.id = a.conversation_id
        GROUP BY a.conversation_id, c.message_count
        HAVING c.message_count IS DISTINCT FROM max(a.message_index) + 1 OR count(a.deleted_at) > 0
    LOOP
        UPDATE conversations
        SET message_count = batch.upto, deleted_count = deleted_count + batch.deleted, updated_at = clock_timestamp(),
            last_message_at = greatest(last_message_at, least(batch.latest, clock_timestamp()))
        WHERE id = batch.conversation_id
            AND (batch.numbered OR message_count = batch.first AND batch.upto - batch.first = batch.number);
        IF NOT FOUND THEN
            RAISE integrity_constraint_violation USING
                MESSAGE = format('messages %s to %s do not continue conversation %s', batch.first, batch.upto - 1,
                                 batch.conversation_id),
                HINT = 'Leave message_index out: the database numbers messages itself.', TABLE = 'messages';
        END IF;
    END LOOP;
    RETURN NULL;
END $$;
"""
# A condition in WHEN is read and made ready anew by every statement; in the function it is compiled once a session.
# The two counters belong to the triggers of `messages`, which run one level deeper than anybody's own UPDATE.
ONE_TRIGGER = """
CREATE FUNCTION conversations_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.message_count = OLD.message_count THEN
        NEW.updated_at := clock_timestamp();  -- an append brings it along
        IF NEW.deleted_count = OLD.deleted_count THEN
            RETURN NEW;
        END IF;
    END IF;
    IF pg_trigger_depth() = 1 THEN
        RAISE restrict_violation USING MESSAGE = 'message_count and deleted_count are kept by the database', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
DROP TRIGGER conversations_touch ON conversations;
DROP TRIGGER conversations_counters ON conversations;
CREATE TRIGGER conversations_changed BEFORE UPDATE ON conversations FOR EACH ROW EXECUTE FUNCTION conversations_changed();
"""
TWO_TRIGGERS = """
DROP TRIGGER conversations_changed ON conversations;
DROP FUNCTION conversations_changed();
CREATE TRIGGER conversations_counters BEFORE UPDATE ON conversations FOR EACH ROW
    WHEN ((NEW.message_count <> OLD.message_count OR NEW.deleted_count <> OLD.deleted_count) AND pg_trigger_depth() = 0)
    EXECUTE FUNCTION conversations_refuse_counting();
CREATE TRIGGER conversations_touch BEFORE UPDATE ON conversations FOR EACH ROW
    WHEN (NEW.message_count = OLD.message_count) EXECUTE FUNCTION conversations_touch();
"""


class Migration(migrations.Migration):
    dependencies = [("conversations", "0018_count_what_comes_deleted")]
    operations = [migrations.RunSQL(LOOK_FIRST + ONE_TRIGGER, TWO_TRIGGERS + ADD_UP)]
