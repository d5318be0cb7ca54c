"""Messages that come into the log deleted already are counted as deleted, and none makes the last message future."""

from django.db import migrations

HEAD = """
-- Rows that bring their index (batches, imports) must continue their conversation exactly; they are counted here.
CREATE OR REPLACE FUNCTION messages_count() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    batch record;
BEGIN
"""
TAIL = """
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
# Old messages may be dated wrongly: a time to come would keep its conversation on top of every list until then.
NOW = """
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
"""
BEFORE = """
    FOR batch IN
        SELECT a.conversation_id, min(a.message_index) AS first, max(a.message_index) + 1 AS upto, count(*) AS number,
               max(a.created_at) AS latest
        FROM added a LEFT JOIN conversations c ON c.id = a.conversation_id
        GROUP BY a.conversation_id, c.message_count
        HAVING c.message_count IS DISTINCT FROM max(a.message_index) + 1  -- true of rows numbered above
    LOOP
        UPDATE conversations
        SET message_count = batch.upto, updated_at = clock_timestamp(),
            last_message_at = greatest(last_message_at, batch.latest)
        WHERE id = batch.conversation_id AND message_count = batch.first AND batch.upto - batch.first = batch.number;
"""


class Migration(migrations.Migration):
    dependencies = [("conversations", "0017_import_rules")]
    operations = [migrations.RunSQL(HEAD + NOW + TAIL, HEAD + BEFORE + TAIL)]
