"""The database itself refuses to take away its rules, too (docs/adr/0141)."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from entities.safety import guard


def install(_apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    with schema_editor.connection.cursor() as cursor:
        guard.install(cursor)


class Migration(migrations.Migration):
    dependencies = [("entities", "0012_schema_changes")]
    operations = [migrations.RunPython(install, migrations.RunPython.noop)]
