"""Counts calls of the API per minute (conversations/api/limits.py). No model: nobody browses it.

Unlogged, since a count of the last minute needs no crash safety and its writes must not wait for the disk.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("conversations", "0005_turn_rules")]
    operations = [
        migrations.RunSQL(
            """
            CREATE UNLOGGED TABLE api_spending (
                kind text NOT NULL CHECK (length(kind) BETWEEN 1 AND 20),
                subject text NOT NULL CHECK (length(subject) BETWEEN 1 AND 64),  -- a key's id, or an address
                spent bigint NOT NULL CHECK (spent > 0),
                ends_at timestamptz NOT NULL,
                PRIMARY KEY (kind, subject)  -- one count per caller: the upsert of a draw
            ) WITH (fillfactor = 50);
            CREATE INDEX api_spending_ended ON api_spending (ends_at);  -- the sweep of minutes that are over
            """,
            "DROP TABLE api_spending",
        ),
    ]
