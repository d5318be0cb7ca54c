"""What a message is found by beside its text is its conversation's: a change of that is a change of all its messages."""

from django.db import migrations

# Only where an update names one of the columns: an append, which updates the conversation as well, pays nothing.
FOLLOW = """
CREATE FUNCTION conversations_found_anew() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_pending (entity_type, entity_id) SELECT 'message', id FROM messages WHERE conversation_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER conversations_found_anew AFTER UPDATE OF user_id, agent_id, channel ON conversations FOR EACH ROW
    WHEN ((NEW.user_id, NEW.agent_id, NEW.channel) IS DISTINCT FROM (OLD.user_id, OLD.agent_id, OLD.channel))
    EXECUTE FUNCTION conversations_found_anew();
"""
UNDO = "DROP FUNCTION conversations_found_anew() CASCADE;"


class Migration(migrations.Migration):
    dependencies = [("conversations", "0019_lighter_rules"), ("search", "0003_isolation")]
    operations = [migrations.RunSQL(FOLLOW, UNDO)]
