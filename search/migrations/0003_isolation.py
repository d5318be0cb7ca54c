"""Row-level security of the index: a key bound to a user finds that user's rows alone."""

from django.db import migrations

from config.rls import ACTING_USER, Protect


class Migration(migrations.Migration):
    dependencies = [("search", "0002_rules"), ("config", "0001_extensions")]
    operations = [
        Protect("search_index", mine=f"user_id = {ACTING_USER}"),
        Protect("search_spaces", mine="true"),  # which space serves, and how complete it is
        Protect("search_pending", mine="true", rights="INSERT (entity_type, entity_id)"),  # the triggers', see watching
        # Under FORCE the owner would be checked, too, row by row and before any index by word may be used, since
        # PostgreSQL trusts no full-text operator with rows it has not checked yet. The client is never the owner.
        migrations.RunSQL(
            "ALTER TABLE search_index NO FORCE ROW LEVEL SECURITY", "ALTER TABLE search_index FORCE ROW LEVEL SECURITY"
        ),
    ]
