"""One device a person: of two windows that enrol at once, one does (config/second_factor/devices.py)."""

from django.db import migrations


class Migration(migrations.Migration):
    atomic = False  # django-otp's table may be in use: nobody waits while the index is built
    dependencies = [
        ("config", "0004_defer_task"),
        ("otp_totp", "0003_add_timestamps"),
        ("otp_static", "0003_add_timestamps"),
    ]
    operations = [
        migrations.RunSQL(
            "CREATE UNIQUE INDEX CONCURRENTLY one_second_factor ON otp_totp_totpdevice (user_id)",
            "DROP INDEX CONCURRENTLY one_second_factor",
        ),
    ]
