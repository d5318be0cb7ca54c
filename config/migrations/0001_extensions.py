"""What every table of the project stands on: vectors, and ids that sort by time."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from pgvector.django import VectorExtension

# PostgreSQL 18 brings uuidv7(); older servers get an equal one: 48 bits of milliseconds, 12 bits of the fraction of the
# millisecond (so that ids of one process sort within it), 62 random bits.
UUIDV7 = """
CREATE OR REPLACE FUNCTION public.uuidv7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    WITH moment AS (SELECT extract(epoch FROM clock_timestamp()) * 1000 AS ms)
    SELECT encode(
        overlay(overlay(uuid_send(gen_random_uuid())
            PLACING substring(int8send(floor(ms)::bigint) FROM 3) FROM 1 FOR 6)
            PLACING substring(int4send((28672 + floor((ms - floor(ms)) * 4096))::integer) FROM 3) FROM 7 FOR 2),
        'hex')::uuid
    FROM moment
$$
"""


def install_uuidv7(_apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version_num')::int < 180000")
        (missing,) = cursor.fetchone()
    if missing:
        schema_editor.execute(UUIDV7)


class Migration(migrations.Migration):
    initial = True
    operations = [
        VectorExtension(),
        migrations.RunPython(install_uuidv7, migrations.RunPython.noop, elidable=False),
    ]
