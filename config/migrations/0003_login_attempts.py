"""Counts tries at the staff login (config/logins.py). No model: nobody browses it, and its rows live for minutes."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("config", "0002_queue")]
    operations = [
        migrations.RunSQL(
            """
            CREATE TABLE login_attempts (
                username_hash text NOT NULL CHECK (username_hash ~ '^[0-9a-f]{64}$'),
                address text NOT NULL CHECK (length(address) <= 64),
                tries integer NOT NULL CHECK (tries > 0),
                last_at timestamptz NOT NULL,
                PRIMARY KEY (username_hash, address)  -- one row per account and caller: the upsert of a try
            );
            CREATE INDEX login_attempts_stale ON login_attempts (last_at);  -- the sweep of rows whose pause is over
            """,
            "DROP TABLE login_attempts",
        ),
    ]
