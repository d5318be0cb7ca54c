"""The tables of LangGraph's checkpoints, made by its own saver, in a schema of their own (docs/adr/0081)."""

import psycopg
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from psycopg.rows import dict_row

SCHEMA = "checkpoints"

# What staff see: one row per thread. Sizes are those of the stored values, so that nothing is unpacked to be measured.
THREADS = """
CREATE VIEW checkpoint_threads WITH (security_invoker = true) AS
SELECT thread_id, checkpoints, size + coalesce(blobs, 0) + coalesce(writes, 0) AS size, last_at
FROM (
    SELECT thread_id, count(*) AS checkpoints, max((checkpoint ->> 'ts')::timestamptz) AS last_at,
        sum(pg_column_size(checkpoint) + pg_column_size(metadata))::bigint AS size
    FROM checkpoints.checkpoints GROUP BY thread_id
) AS states
LEFT JOIN LATERAL (
    SELECT sum(pg_column_size(blob))::bigint AS blobs FROM checkpoints.checkpoint_blobs b
    WHERE b.thread_id = states.thread_id
) AS of_values ON true
LEFT JOIN LATERAL (
    SELECT sum(pg_column_size(blob))::bigint AS writes FROM checkpoints.checkpoint_writes w
    WHERE w.thread_id = states.thread_id
) AS of_writes ON true
"""


def set_up(_apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    from langgraph.checkpoint.postgres import PostgresSaver

    # On a connection of its own: the saver wants autocommit (it builds indexes concurrently) and reads binary, which
    # Django's cursors do not.
    found = schema_editor.connection.get_connection_params()
    wanted = {key: value for key, value in found.items() if key not in ("context", "cursor_factory", "pool")}
    wanted["options"] = f"{wanted.get('options') or ''} -c search_path={SCHEMA}"
    with psycopg.connect(**wanted, autocommit=True, row_factory=dict_row) as connection:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        PostgresSaver(connection).setup()


class Migration(migrations.Migration):
    atomic = False  # indexes are built concurrently
    dependencies = [("agents", "0003_tool_calls")]
    operations = [
        migrations.RunPython(set_up, migrations.RunPython.noop),  # going back leaves the checkpoints where they are
        migrations.RunSQL(THREADS, "DROP VIEW checkpoint_threads"),
        migrations.CreateModel(
            name="CheckpointThread",
            fields=[
                ("thread_id", models.TextField(primary_key=True, serialize=False, verbose_name="turn")),
                ("checkpoints", models.BigIntegerField(verbose_name="checkpoints")),
                ("size", models.BigIntegerField(verbose_name="bytes")),
                ("last_at", models.DateTimeField(verbose_name="last step")),
            ],
            options={
                "verbose_name": "checkpoint thread",
                "verbose_name_plural": "checkpoint threads",
                "db_table": "checkpoint_threads",
                "managed": False,
            },
        ),
    ]
