"""A fate that was recorded stays: the database refuses what no verb of ours does, whoever asks (docs/adr/0142)."""

from django.db import migrations

# Recording a fate pays nothing for it: there is no trigger on INSERT. A failed message may still be answered by a retry,
# left to staff, cleared or fail once more; every other fate is the last. A fate leaves with its message, which leaves with
# its conversation: the foreign key deletes it then, and the message is gone already.
FINAL = """
CREATE FUNCTION message_fates_stay() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    allowed message_fates := OLD;
BEGIN
    allowed.fate := NEW.fate;
    allowed.turn_id := NEW.turn_id;
    allowed.rule := NEW.rule;
    allowed.updated_at := NEW.updated_at;
    IF OLD.fate <> 'failed' OR NOT NEW *= allowed THEN
        RAISE restrict_violation USING TABLE = 'message_fates',
            MESSAGE = format('the fate of a message is final: it was %s', OLD.fate),
            HINT = 'Only a failed message may be answered, left, cleared or skipped later.';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER message_fates_stay BEFORE UPDATE ON message_fates FOR EACH ROW EXECUTE FUNCTION message_fates_stay();

CREATE FUNCTION message_fates_leave_with_messages() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    kept boolean := current_setting('parley.erasing', true) IS DISTINCT FROM 'on' OR current_user = 'parley_client';
BEGIN
    IF NOT kept AND TG_OP = 'DELETE' THEN
        kept := EXISTS (SELECT FROM messages WHERE id = OLD.message_id);
    ELSIF NOT kept THEN  -- of a TRUNCATE, after it: of all its tables or of this one alone?
        kept := EXISTS (SELECT FROM messages);
    END IF;
    IF kept THEN
        RAISE restrict_violation USING TABLE = 'message_fates',
            MESSAGE = format('every message keeps its fate: %s is refused', TG_OP),
            HINT = 'The erase command removes a conversation and records who asked for it.';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD END;
END $$;
CREATE TRIGGER message_fates_leave_with_messages BEFORE DELETE ON message_fates
    FOR EACH ROW EXECUTE FUNCTION message_fates_leave_with_messages();
CREATE TRIGGER message_fates_leave_together AFTER TRUNCATE ON message_fates
    EXECUTE FUNCTION message_fates_leave_with_messages();
"""
UNDO = """
DROP FUNCTION message_fates_leave_with_messages() CASCADE;
DROP FUNCTION message_fates_stay() CASCADE;
"""


class Migration(migrations.Migration):
    dependencies = [("conversations", "0020_messages_are_found_by_their_conversation")]
    operations = [migrations.RunSQL(FINAL, UNDO)]
