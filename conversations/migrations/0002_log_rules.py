"""The rules of the log, kept by the database: numbering, append-only, erasure, and the functions for SQL clients."""

from django.db import migrations

# The database's own foreign key: Django's would be checked at commit only and would not cascade.
FOREIGN_KEY = """
ALTER TABLE messages ADD CONSTRAINT messages_conversation_fk
    FOREIGN KEY (conversation_id) REFERENCES conversations (id) ON DELETE CASCADE;
-- The counter is updated with every message: leave room for the new version beside the old one.
ALTER TABLE conversations SET (fillfactor = 70);
"""

NUMBERING = """
-- A message without an index gets the next one of its conversation. The update holds the row until commit, so indexes
-- become visible in their order, without gaps, and a writer that dies gives its index back.
CREATE FUNCTION messages_number() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE conversations
    SET message_count = message_count + 1, last_message_at = clock_timestamp(), updated_at = clock_timestamp()
    WHERE id = NEW.conversation_id
    RETURNING message_count - 1, last_message_at, last_message_at
    INTO NEW.message_index, NEW.created_at, NEW.updated_at;
    IF NOT FOUND THEN
        RAISE foreign_key_violation USING MESSAGE = format('conversation %s does not exist', NEW.conversation_id),
            TABLE = 'messages', CONSTRAINT = 'messages_conversation_fk';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER messages_number BEFORE INSERT ON messages FOR EACH ROW
    WHEN (NEW.message_index IS NULL) EXECUTE FUNCTION messages_number();

-- Rows that bring their index (batches, imports) must continue their conversation exactly; they are counted here.
CREATE FUNCTION messages_count() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    batch record;
BEGIN
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
        IF NOT FOUND THEN
            RAISE integrity_constraint_violation USING
                MESSAGE = format('messages %s to %s do not continue conversation %s', batch.first, batch.upto - 1,
                                 batch.conversation_id),
                HINT = 'Leave message_index out: the database numbers messages itself.', TABLE = 'messages';
        END IF;
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER messages_count AFTER INSERT ON messages REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION messages_count();

-- The two counters belong to the triggers of `messages`; a hand on them would make a gap.
CREATE FUNCTION conversations_refuse_counting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE restrict_violation USING MESSAGE = 'message_count and deleted_count are kept by the database', TABLE = TG_TABLE_NAME;
END $$;
CREATE TRIGGER conversations_counters BEFORE UPDATE ON conversations FOR EACH ROW
    WHEN ((NEW.message_count <> OLD.message_count OR NEW.deleted_count <> OLD.deleted_count) AND pg_trigger_depth() = 0)
    EXECUTE FUNCTION conversations_refuse_counting();
CREATE TRIGGER conversations_start_empty BEFORE INSERT ON conversations FOR EACH ROW
    WHEN (NEW.message_count <> 0 OR NEW.deleted_count <> 0) EXECUTE FUNCTION conversations_refuse_counting();

-- updated_at of everything else that changes a conversation.
CREATE FUNCTION conversations_touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END $$;
CREATE TRIGGER conversations_touch BEFORE UPDATE ON conversations FOR EACH ROW
    WHEN (NEW.message_count = OLD.message_count) EXECUTE FUNCTION conversations_touch();
"""

APPEND_ONLY = """
-- A message never changes, but once: deleted_at from nothing to the database's now.
CREATE FUNCTION messages_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    allowed messages := OLD;
BEGIN
    allowed.deleted_at := NEW.deleted_at;
    allowed.updated_at := NEW.updated_at;
    allowed.character_count := NEW.character_count;  -- generated, not known yet
    IF OLD.deleted_at IS NOT NULL OR NEW.deleted_at IS NULL OR NOT NEW *= allowed THEN
        RAISE restrict_violation USING MESSAGE = 'messages are append-only: only deleted_at may be set, and once',
            TABLE = 'messages';
    END IF;
    NEW.deleted_at := statement_timestamp();
    NEW.updated_at := NEW.deleted_at;
    RETURN NEW;
END $$;
CREATE TRIGGER messages_refuse_change BEFORE UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION messages_refuse_change();

CREATE FUNCTION messages_count_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE conversations SET deleted_count = deleted_count + batch.number
    FROM (SELECT conversation_id, count(*) AS number FROM changed GROUP BY conversation_id) AS batch
    WHERE id = batch.conversation_id;
    RETURN NULL;
END $$;
CREATE TRIGGER messages_count_deleted AFTER UPDATE ON messages REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION messages_count_deleted();

-- Rows leave only with their whole conversation, inside the erase command's transaction, which sets parley.erasing.
CREATE FUNCTION parley_refuse_erasure() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('parley.erasing', true) IS DISTINCT FROM 'on' OR current_user = 'parley_client' THEN
        RAISE restrict_violation USING MESSAGE = format('%s are append-only: %s is refused', TG_TABLE_NAME, TG_OP),
            TABLE = TG_TABLE_NAME, HINT = 'The erase command removes a conversation and records who asked for it.';
    END IF;
    IF TG_LEVEL = 'ROW' THEN
        IF TG_TABLE_NAME = 'messages' THEN  -- a condition of its own: rows of conversations have no conversation_id
            IF EXISTS (SELECT FROM conversations WHERE id = OLD.conversation_id) THEN
                RAISE restrict_violation USING TABLE = TG_TABLE_NAME,
                    MESSAGE = 'erasing single messages would leave a gap: erase the conversation';
            END IF;
        END IF;
        RETURN OLD;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER messages_refuse_delete BEFORE DELETE ON messages FOR EACH ROW EXECUTE FUNCTION parley_refuse_erasure();
CREATE TRIGGER messages_refuse_truncate BEFORE TRUNCATE ON messages EXECUTE FUNCTION parley_refuse_erasure();
CREATE TRIGGER conversations_refuse_delete BEFORE DELETE ON conversations FOR EACH ROW EXECUTE FUNCTION parley_refuse_erasure();
CREATE TRIGGER conversations_refuse_truncate BEFORE TRUNCATE ON conversations EXECUTE FUNCTION parley_refuse_erasure();
"""

FUNCTIONS = """
-- One message, for every client: conversations.log calls this, too. A repeated external_id returns the first row.
CREATE FUNCTION append_message(
    p_conversation_id uuid, p_role text, p_content text, p_metadata jsonb DEFAULT '{}', p_external_id text DEFAULT NULL,
    p_author text DEFAULT '', p_inbound boolean DEFAULT false, p_turn_id uuid DEFAULT NULL, p_agent_version integer DEFAULT NULL,
    OUT id uuid, OUT message_index bigint, OUT role text, OUT content text, OUT character_count integer, OUT metadata jsonb,
    OUT author text, OUT created_at timestamptz, OUT deleted_at timestamptz, OUT repeated boolean
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    repeated := false;
    IF p_external_id IS NOT NULL THEN
        -- Two who race with one external_id meet at this lock, and the second sees what the first committed.
        PERFORM FROM conversations WHERE id = p_conversation_id FOR NO KEY UPDATE;
        SELECT m.id, m.message_index, m.role, m.content, m.character_count, m.metadata, m.author, m.created_at, m.deleted_at, true
        INTO id, message_index, role, content, character_count, metadata, author, created_at, deleted_at, repeated
        FROM messages m WHERE m.conversation_id = p_conversation_id AND m.external_id = p_external_id;
        IF FOUND THEN
            IF (append_message.role, append_message.content) IS DISTINCT FROM (p_role, p_content) THEN
                RAISE unique_violation USING
                    MESSAGE = format('external_id %L is taken by another message of the conversation', p_external_id),
                    TABLE = 'messages', CONSTRAINT = 'messages_one_per_external_id';
            END IF;
            RETURN;
        END IF;
        repeated := false;
    END IF;
    INSERT INTO messages AS m (conversation_id, role, content, metadata, external_id, author, inbound, turn_id, agent_version)
    VALUES (p_conversation_id, p_role, p_content, coalesce(p_metadata, '{}'), p_external_id, coalesce(p_author, ''),
            p_inbound, p_turn_id, p_agent_version)
    RETURNING m.id, m.message_index, m.role, m.content, m.character_count, m.metadata, m.author, m.created_at
    INTO id, message_index, role, content, character_count, metadata, author, created_at;
END $$;

-- Many messages of one conversation at once: an array of {role, content, metadata?, external_id?, author?}, in order.
CREATE FUNCTION append_messages(p_conversation_id uuid, p_messages jsonb)
RETURNS TABLE (
    id uuid, message_index bigint, role text, content text, character_count integer, metadata jsonb, author text,
    created_at timestamptz, deleted_at timestamptz, repeated boolean
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    base bigint;
    taken text;
BEGIN
    SELECT c.message_count INTO base FROM conversations c WHERE c.id = p_conversation_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE foreign_key_violation USING MESSAGE = format('conversation %s does not exist', p_conversation_id),
            TABLE = 'messages', CONSTRAINT = 'messages_conversation_fk';
    END IF;
    RETURN QUERY
    WITH given AS (
        SELECT g.*, CASE WHEN g.external_id IS NULL THEN g.position
                         ELSE min(g.position) OVER (PARTITION BY g.external_id) END AS first
        FROM ROWS FROM (jsonb_to_recordset(p_messages)
            AS (role text, content text, metadata jsonb, external_id text, author text)) WITH ORDINALITY
            AS g (role, content, metadata, external_id, author, position)
    ), fresh AS (
        SELECT g.*, base + row_number() OVER (ORDER BY g.position) - 1 AS message_index
        FROM given g
        WHERE g.position = g.first AND NOT EXISTS (
            SELECT FROM messages m WHERE m.conversation_id = p_conversation_id AND m.external_id = g.external_id)
    ), stored AS (
        INSERT INTO messages AS m (conversation_id, message_index, role, content, metadata, external_id, author)
        SELECT p_conversation_id, f.message_index, f.role, f.content, coalesce(f.metadata, '{}'), f.external_id, coalesce(f.author, '')
        FROM fresh f ORDER BY f.message_index
        RETURNING m.*
    ), answer AS (
        SELECT g.position, s.*, g.position <> g.first AS repeated
        FROM given g
        JOIN fresh f ON f.position = g.first
        JOIN stored s ON s.message_index = f.message_index
        UNION ALL
        SELECT g.position, m.*, true
        FROM given g JOIN messages m ON m.conversation_id = p_conversation_id AND m.external_id = g.external_id
    )
    SELECT a.id, a.message_index, a.role::text, a.content, a.character_count, a.metadata, a.author::text, a.created_at,
           a.deleted_at, a.repeated
    FROM answer a ORDER BY a.position;

    SELECT g.external_id INTO taken
    FROM jsonb_to_recordset(p_messages) AS g (role text, content text, external_id text)
    JOIN messages m ON m.conversation_id = p_conversation_id AND m.external_id = g.external_id
    WHERE (m.role, m.content) IS DISTINCT FROM (g.role, g.content) LIMIT 1;
    IF FOUND THEN
        RAISE unique_violation USING
            MESSAGE = format('external_id %L is taken by another message of the conversation', taken),
            TABLE = 'messages', CONSTRAINT = 'messages_one_per_external_id';
    END IF;
END $$;

-- A page in order of index: forward from after_index, else the newest messages (before before_index).
-- Since indexes have no gaps, a page is a range of them. A range costs the same in a conversation of a hundred thousand
-- messages, whatever the planner's statistics say; LIMIT alone may sort the whole conversation. Deleted messages make a
-- range too short, so it grows until the page is full.
CREATE FUNCTION get_session_messages(
    p_conversation_id uuid, p_limit integer DEFAULT NULL, p_after_index bigint DEFAULT NULL,
    p_before_index bigint DEFAULT NULL, p_include_deleted boolean DEFAULT false
) RETURNS SETOF messages LANGUAGE plpgsql STABLE ROWS 50 AS $$
DECLARE
    low bigint := greatest(least(coalesce(p_after_index, -1), 9223372036854775806) + 1, 0);
    high bigint;
    all_visible boolean;
    span bigint := p_limit;
    start bigint;
    found_here bigint := 0;
BEGIN
    IF p_limit < 0 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the limit must not be negative';
    END IF;
    SELECT least(c.message_count, p_before_index), p_include_deleted OR c.deleted_count = 0
    INTO high, all_visible
    FROM conversations c WHERE c.id = p_conversation_id AND (p_include_deleted OR c.deleted_count < c.message_count);
    IF NOT FOUND OR p_limit = 0 OR low >= high THEN
        RETURN;
    END IF;
    start := greatest(low, high - span);
    IF p_limit IS NULL THEN
        start := low;
    ELSIF p_after_index IS NOT NULL THEN
        start := low;
        WHILE NOT all_visible AND low + span < high LOOP
            SELECT count(*) INTO found_here FROM messages m
            WHERE m.conversation_id = p_conversation_id AND m.message_index >= low AND m.message_index < low + span
                AND m.deleted_at IS NULL;
            EXIT WHEN found_here >= p_limit;
            span := span * 4;
        END LOOP;
        high := least(high, low + span);
    ELSE
        WHILE NOT all_visible AND start > low LOOP
            SELECT count(*) INTO found_here FROM messages m
            WHERE m.conversation_id = p_conversation_id AND m.message_index >= start AND m.message_index < high
                AND m.deleted_at IS NULL;
            EXIT WHEN found_here >= p_limit;
            span := span * 4;
            start := greatest(low, high - span);
        END LOOP;
        RETURN QUERY SELECT page.* FROM (
            SELECT m.* FROM messages m
            WHERE m.conversation_id = p_conversation_id AND m.message_index >= start AND m.message_index < high
                AND (p_include_deleted OR m.deleted_at IS NULL)
            ORDER BY m.message_index DESC LIMIT p_limit
        ) AS page ORDER BY page.message_index;
        RETURN;
    END IF;
    RETURN QUERY SELECT m.* FROM messages m
        WHERE m.conversation_id = p_conversation_id AND m.message_index >= start AND m.message_index < high
            AND (p_include_deleted OR m.deleted_at IS NULL)
        ORDER BY m.message_index LIMIT p_limit;
END $$;

-- How many messages a reader sees; both counters move under the lock of every append and clear.
CREATE FUNCTION get_session_message_count(p_conversation_id uuid) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce((SELECT message_count - deleted_count FROM conversations WHERE id = p_conversation_id), 0)
$$;
"""

UNDO = """
DROP FUNCTION get_session_message_count(uuid);
DROP FUNCTION get_session_messages(uuid, integer, bigint, bigint, boolean);
DROP FUNCTION append_messages(uuid, jsonb);
DROP FUNCTION append_message(uuid, text, text, jsonb, text, text, boolean, uuid, integer);
DROP FUNCTION messages_number() CASCADE;
DROP FUNCTION messages_count() CASCADE;
DROP FUNCTION messages_refuse_change() CASCADE;
DROP FUNCTION messages_count_deleted() CASCADE;
DROP FUNCTION conversations_refuse_counting() CASCADE;
DROP FUNCTION conversations_touch() CASCADE;
DROP FUNCTION parley_refuse_erasure() CASCADE;
ALTER TABLE messages DROP CONSTRAINT messages_conversation_fk;
"""


class Migration(migrations.Migration):
    dependencies = [("conversations", "0001_tables")]
    operations = [migrations.RunSQL(FOREIGN_KEY + NUMBERING + APPEND_ONLY + FUNCTIONS, UNDO)]
