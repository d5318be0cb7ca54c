"""The quick way into an open burst: one statement stores a message and joins it (docs/adr/0062)."""

from django.db import migrations

JOIN = """
-- Nothing comes back, and nothing is stored, where the message is not simply the next of an open burst: the caller then
-- takes the long way. The first look takes no lock, so that it costs no commit; the second is under the conversation's
-- lock, which whoever seals, clears or takes over holds.
CREATE FUNCTION join_burst(
    p_conversation_id uuid, p_content text, p_metadata jsonb, p_external_id text, p_question_context text,
    p_step integer, p_quiet interval, p_max_size integer, p_max_bytes integer,
    OUT id uuid, OUT message_index bigint, OUT character_count integer, OUT metadata jsonb, OUT created_at timestamptz,
    OUT interview_step integer, OUT flush_id text, OUT flush_at timestamptz, OUT size integer, OUT wait_ms integer
) RETURNS SETOF record LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_entry record;
    v_step integer;
    v_buffer uuid;
BEGIN
    PERFORM FROM conversations c JOIN message_buffers b ON b.conversation_id = c.id
    WHERE c.id = p_conversation_id AND b.interview_step = coalesce(p_step, c.interview_step);
    IF NOT FOUND THEN RETURN; END IF;

    SELECT coalesce(p_step, c.interview_step) INTO v_step FROM conversations c
    WHERE c.id = p_conversation_id AND c.mode = 'auto' FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN; END IF;
    SELECT b.id INTO v_buffer FROM message_buffers b
    WHERE b.conversation_id = p_conversation_id AND b.interview_step = v_step
        AND jsonb_array_length(b.messages) + 1 < p_max_size AND b.size_bytes + octet_length(p_content) < p_max_bytes;
    IF NOT FOUND THEN RETURN; END IF;
    PERFORM FROM messages m WHERE m.conversation_id = p_conversation_id AND m.external_id = p_external_id;
    IF FOUND THEN RETURN; END IF;

    SELECT a.id, a.message_index, a.character_count, a.metadata, a.created_at INTO v_entry
    FROM append_message(p_conversation_id, 'user', p_content, p_metadata, p_external_id, p_inbound => true) AS a;
    RETURN QUERY
    UPDATE message_buffers AS b SET
        messages = b.messages || jsonb_build_array(jsonb_build_object(
            'message_id', v_entry.id, 'message_index', v_entry.message_index, 'content', p_content,
            'at', v_entry.created_at, 'question_context', p_question_context)),
        size_bytes = b.size_bytes + octet_length(p_content),
        flush_at = least(greatest(b.flush_at, clock_timestamp() + p_quiet), b.deadline),
        last_updated_at = clock_timestamp(), updated_at = clock_timestamp()
    WHERE b.id = v_buffer
    RETURNING v_entry.id, v_entry.message_index, v_entry.character_count, v_entry.metadata, v_entry.created_at,
        b.interview_step, b.flush_id::text, b.flush_at, jsonb_array_length(b.messages),
        greatest(0, extract(epoch FROM b.flush_at - clock_timestamp()) * 1000)::int;
END $$;
"""
UNDO = "DROP FUNCTION join_burst(uuid, text, jsonb, text, text, integer, interval, integer, integer)"


class Migration(migrations.Migration):
    dependencies = [("conversations", "0007_agent")]
    operations = [migrations.RunSQL(JOIN, UNDO)]
