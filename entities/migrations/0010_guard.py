"""The database itself refuses to drop, rename or narrow what is ours (docs/adr/0119)."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from entities.safety import guard


def install(_apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    with schema_editor.connection.cursor() as cursor:
        guard.install(cursor)


class Migration(migrations.Migration):
    dependencies = [("agents", "0002_rules"), ("entities", "0003_lineage_rules")]
    operations = [migrations.RunPython(install, migrations.RunPython.noop)]
