"""One statement stores a message and lets it wait: it joins the open burst, or opens one and sets its timer (ADR 0062)."""

from django.db import migrations

RECEIVE = """
-- Nothing comes back, and nothing is stored, where the message is neither: the caller then takes the long way. The first
-- look takes no lock, so that it costs no commit; what is decided is read again under the conversation's lock, which
-- whoever seals, clears or takes over holds. The timer is signed for p_expected_step: at another step none is set.
CREATE FUNCTION receive_message(
    p_conversation_id uuid, p_content text, p_metadata jsonb, p_external_id text, p_question_context text,
    p_step integer, p_quiet interval, p_max_wait interval, p_max_size integer, p_max_bytes integer,
    p_expected_step integer, p_timer text[],
    OUT id uuid, OUT message_index bigint, OUT character_count integer, OUT metadata jsonb, OUT created_at timestamptz,
    OUT interview_step integer, OUT flush_id text, OUT flush_at timestamptz, OUT size integer, OUT wait_ms integer,
    OUT opened boolean
) RETURNS SETOF record LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_entry record;
    v_user bigint;
    v_step integer;
    v_buffer uuid;
    v_room boolean;
    v_message jsonb;
    v_now timestamptz;
BEGIN
    PERFORM FROM conversations c WHERE c.id = p_conversation_id AND c.mode = 'auto';
    IF NOT FOUND THEN RETURN; END IF;

    SELECT coalesce(p_step, c.interview_step), c.user_id INTO v_step, v_user FROM conversations c
    WHERE c.id = p_conversation_id AND c.mode = 'auto' FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN; END IF;
    SELECT b.id, jsonb_array_length(b.messages) + 1 < p_max_size
        AND b.size_bytes + octet_length(p_content) < p_max_bytes INTO v_buffer, v_room
    FROM message_buffers b WHERE b.conversation_id = p_conversation_id AND b.interview_step = v_step;
    opened := NOT FOUND;
    IF opened THEN
        v_room := v_step = p_expected_step AND p_max_size > 1 AND octet_length(p_content) < p_max_bytes;
    END IF;
    IF NOT v_room THEN RETURN; END IF;
    IF p_external_id IS NOT NULL THEN
        PERFORM FROM messages m WHERE m.conversation_id = p_conversation_id AND m.external_id = p_external_id;
        IF FOUND THEN RETURN; END IF;
    END IF;

    INSERT INTO messages AS m (conversation_id, role, content, metadata, external_id, inbound)
    VALUES (p_conversation_id, 'user', p_content, p_metadata, p_external_id, true)
    RETURNING m.id, m.message_index, m.character_count, m.metadata, m.created_at INTO v_entry;
    v_message := jsonb_build_array(jsonb_build_object(
        'message_id', v_entry.id, 'message_index', v_entry.message_index, 'content', p_content,
        'at', v_entry.created_at, 'question_context', p_question_context));
    id := v_entry.id; message_index := v_entry.message_index; character_count := v_entry.character_count;
    metadata := v_entry.metadata; created_at := v_entry.created_at; interview_step := v_step;
    v_now := clock_timestamp();
    IF opened THEN
        INSERT INTO message_buffers AS b
            (conversation_id, user_id, interview_step, messages, size_bytes, flush_id, flush_at, deadline)
        VALUES (p_conversation_id, v_user, v_step, v_message, octet_length(p_content),
            jsonb_build_array(v_user, p_conversation_id, v_step, v_entry.message_index)::text,
            v_now + least(p_quiet, p_max_wait), v_now + p_max_wait)
        RETURNING b.flush_id, b.flush_at, 1 INTO flush_id, flush_at, size;
        PERFORM defer_task(p_timer, flush_at);
    ELSE
        UPDATE message_buffers AS b SET
            messages = b.messages || v_message, size_bytes = b.size_bytes + octet_length(p_content),
            flush_at = least(greatest(b.flush_at, v_now + p_quiet), b.deadline),
            last_updated_at = v_now, updated_at = v_now
        WHERE b.id = v_buffer
        RETURNING b.flush_id, b.flush_at, jsonb_array_length(b.messages) INTO flush_id, flush_at, size;
    END IF;
    wait_ms := greatest(0, extract(epoch FROM flush_at - v_now) * 1000)::int;
    RETURN NEXT;
END $$;
"""
UNDO = (
    "DROP FUNCTION receive_message(uuid, text, jsonb, text, text, integer, interval, interval, integer, integer, integer,"
    " text[])"
)


class Migration(migrations.Migration):
    # join_burst stays for processes of the release before this one
    dependencies = [("conversations", "0009_turn_drafts"), ("config", "0004_defer_task")]
    operations = [migrations.RunSQL(RECEIVE, UNDO)]
