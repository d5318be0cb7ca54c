"""What the database holds of deliveries: where each stands, and the one statement that claims the next one."""

from django.db import migrations

RULES = """
-- A delivery stands where its message stands; whoever writes one need not know, and cannot say otherwise.
CREATE FUNCTION deliveries_place() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT m.conversation_id, m.message_index INTO NEW.conversation_id, NEW.message_index
    FROM messages m WHERE m.id = NEW.message_id;
    RETURN NEW;
END $$;
CREATE TRIGGER deliveries_place BEFORE INSERT ON deliveries FOR EACH ROW EXECUTE FUNCTION deliveries_place();

UPDATE deliveries d SET conversation_id = m.conversation_id, message_index = m.message_index
FROM messages m WHERE m.id = d.message_id AND d.conversation_id IS NULL;

-- Rows that change several times within a second: room on the page, so that no index is touched.
ALTER TABLE deliveries SET (fillfactor = 80);
ALTER TABLE delivery_gates SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 200);
"""
UNDO_RULES = """
ALTER TABLE delivery_gates RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
ALTER TABLE deliveries RESET (fillfactor);
DROP TRIGGER deliveries_place ON deliveries;
DROP FUNCTION deliveries_place();
"""

CLAIM = """
-- The next part of the conversation: `take` (it is the caller's under a lease), `cut` (it is longer than the channel
-- takes at once and was never looked at), `busy` (look again then) or `idle`. What is before it in the conversation is
-- sent, given up, or unknown for longer than the patience; never under way.
CREATE FUNCTION claim_delivery(
    p_conversation_id uuid, p_limit integer, p_lease interval, p_patience interval,
    p_chat_gap interval, p_bot_gap interval,
    OUT verdict text, OUT wait_until timestamptz, OUT id uuid, OUT generation integer, OUT attempts integer,
    OUT message_id uuid, OUT part integer, OUT body text, OUT lost integer
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz;
    v_channel text;
    v_chat bigint;
    v_content text;
    v_deleted timestamptz;
    v_slot timestamptz;
    v_next timestamptz;
    head deliveries%ROWTYPE;
BEGIN
    verdict := 'idle';
    lost := 0;
    -- Whoever looks at once takes turns at the conversation's row, as everybody does who writes below it.
    SELECT c.channel, coalesce(c.chat_id, c.user_id) INTO v_channel, v_chat
    FROM conversations c WHERE c.id = p_conversation_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN; END IF;
    LOOP
        v_now := clock_timestamp();
        SELECT * INTO head FROM deliveries d
        WHERE d.conversation_id = p_conversation_id AND d.status IN ('pending', 'sending', 'unknown')
            AND NOT (d.status = 'unknown' AND d.next_attempt_at <= v_now)
        ORDER BY d.message_index, d.part LIMIT 1;
        IF NOT FOUND THEN RETURN; END IF;

        IF head.status = 'sending' AND head.lease_until <= v_now THEN
            -- Its sender died or hangs: perhaps it arrived. What follows waits a while for somebody to know.
            UPDATE deliveries d SET status = 'unknown', lease_until = NULL, next_attempt_at = v_now + p_patience,
                error = 'Whoever sent it never told how it ended.', updated_at = v_now
            WHERE d.id = head.id AND d.status = 'sending' AND d.generation = head.generation;
            lost := lost + 1;
            CONTINUE;
        END IF;
        IF head.status <> 'pending' OR head.next_attempt_at > v_now THEN
            verdict := 'busy';
            wait_until := CASE head.status WHEN 'sending' THEN head.lease_until ELSE head.next_attempt_at END;
            RETURN;
        END IF;

        SELECT m.content, m.deleted_at INTO v_content, v_deleted FROM messages m WHERE m.id = head.message_id;
        IF v_deleted IS NOT NULL THEN
            UPDATE deliveries d SET status = 'failed', error = 'It was deleted before it was sent.',
                resolved_at = v_now, resolved_by = 'system', updated_at = v_now
            WHERE d.id = head.id;
            CONTINUE;
        END IF;
        message_id := head.message_id;
        part := head.part;
        IF head.ends IS NULL AND 2 * length(v_content) > p_limit THEN
            verdict := 'cut';
            id := head.id;
            body := v_content;
            RETURN;
        END IF;

        -- The pace: one chat after p_chat_gap, the whole bot after p_bot_gap. Slots of the bot are handed out in
        -- advance, so that a thousand conversations do not ask for the same one a thousand times.
        INSERT INTO delivery_gates (channel, chat_id, next_at, paused_until)
        VALUES (v_channel, v_chat, v_now, v_now), (v_channel, 0, v_now, v_now) ON CONFLICT DO NOTHING;
        SELECT greatest(g.next_at, g.paused_until) INTO v_next FROM delivery_gates g
        WHERE g.channel = v_channel AND g.chat_id = v_chat FOR NO KEY UPDATE;
        IF v_next > v_now THEN
            UPDATE deliveries d SET next_attempt_at = v_next WHERE d.id = head.id;
            verdict := 'busy';
            wait_until := v_next;
            RETURN;
        END IF;
        SELECT g.paused_until INTO v_next FROM delivery_gates g WHERE g.channel = v_channel AND g.chat_id = 0;
        IF head.slot_at IS NULL OR v_next > v_now THEN
            UPDATE delivery_gates g SET next_at = greatest(g.next_at, g.paused_until, v_now) + p_bot_gap
            WHERE g.channel = v_channel AND g.chat_id = 0 RETURNING g.next_at - p_bot_gap INTO v_slot;
            IF v_slot > v_now THEN
                UPDATE deliveries d SET slot_at = v_slot, next_attempt_at = v_slot WHERE d.id = head.id;
                verdict := 'busy';
                wait_until := v_slot;
                RETURN;
            END IF;
        END IF;
        UPDATE delivery_gates g SET next_at = v_now + p_chat_gap WHERE g.channel = v_channel AND g.chat_id = v_chat;

        UPDATE deliveries d SET status = 'sending', generation = d.generation + 1, attempts = d.attempts + 1,
            lease_until = v_now + p_lease, slot_at = NULL, updated_at = v_now
        WHERE d.id = head.id RETURNING d.id, d.generation, d.attempts INTO id, generation, attempts;
        body := substr(v_content, head.begins + 1, coalesce(head.ends, length(v_content)) - head.begins);
        verdict := 'take';
        RETURN;
    END LOOP;
END $$;
"""
UNDO_CLAIM = "DROP FUNCTION claim_delivery(uuid, integer, interval, interval, interval, interval)"


class Migration(migrations.Migration):
    dependencies = [("conversations", "0010_delivery_engine")]
    operations = [migrations.RunSQL(RULES, UNDO_RULES), migrations.RunSQL(CLAIM, UNDO_CLAIM)]
