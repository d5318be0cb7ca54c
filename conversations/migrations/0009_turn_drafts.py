"""Where a running turn's answer can be watched as it grows."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("conversations", "0008_join_burst")]
    operations = [
        migrations.RunSQL(
            """
            -- Unlogged: written several times a second while a turn runs, worth nothing afterwards.
            CREATE UNLOGGED TABLE turn_drafts (
                turn_id uuid PRIMARY KEY,
                conversation_id uuid NOT NULL,
                text text NOT NULL,
                updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
            ) WITH (fillfactor = 50);
            CREATE INDEX turn_drafts_conversation ON turn_drafts (conversation_id);  -- the live view: is one growing?
            """,
            "DROP TABLE turn_drafts",
        )
    ]
