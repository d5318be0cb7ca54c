"""Every check of an installation: readiness, and what only somebody at the machine can look at."""

import os
import shutil
import stat
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.db import connection
from packaging.markers import Marker

from config import health, rls
from config.env import ROOT
from config.health import Check, Result

FREE_MEGABYTES = 500
REINSTALL = "Run `touch requirements.txt && make install`; libraries of your own must fit the versions of the lock."
CLOCK_SKEW = 2.0  # seconds; leases and due times use the database's clock, log lines ours


def python() -> Result:
    """Is this a Python we run on?"""
    version = ".".join(map(str, sys.version_info[:3]))
    return Result("python", sys.version_info >= (3, 11), version, "Install Python 3.11 or newer.")


def packages() -> Result:
    """Is what the lock names what is installed?"""
    wrong = [f"{name} {want} (here: {have or 'missing'})" for name, want, have in _locked() if have != want]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        return Result("packages", False, f"not as locked: {', '.join(wrong[:3])}{more}", REINSTALL)
    return Result("packages", True, "as locked")


def mode() -> Result:
    """Development or production, and is anything in between?"""
    if settings.PRODUCTION:
        return Result("mode", True, f"production, hosts {', '.join(settings.ALLOWED_HOSTS)}")
    outward = [host for host in settings.ALLOWED_HOSTS if host not in {"localhost", "127.0.0.1", "[::1]"}]
    detail = f"development, yet it answers for {', '.join(outward)}" if outward else "development"
    return Result("mode", not outward, detail, "Set DEBUG=false where others can reach it.")


def secrets() -> Result:
    """May others on this machine read what only we should?"""
    files = [path for path in (ROOT / ".env", settings.DATA_DIR / "secret_key") if path.exists()]
    open_ones = [path for path in files if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)]
    if open_ones:
        names = " ".join(str(path) for path in open_ones)
        return Result("secrets", False, f"others may read {names}", f"Run `chmod 600 {names}`.")
    return Result("secrets", True, "readable by their owner only")


def disk() -> Result:
    """Is there room for the data folder to grow?"""
    place = settings.DATA_DIR if settings.DATA_DIR.exists() else ROOT
    free = shutil.disk_usage(place).free // 2**20
    return Result("disk", free >= FREE_MEGABYTES, f"{free:,} MB free for {place}", "Make room, or set DATA_DIR.")


def folders() -> Result:
    """May we write where data and backups go?"""
    closed = [
        f"{name} ({place})"
        for name, place in (("DATA_DIR", settings.DATA_DIR), ("BACKUP_DIR", settings.BACKUP_DIR))
        if not _is_writable(Path(place))
    ]
    if closed:
        fix = "Give the folder to the account that runs us, or choose another."
        return Result("folders", False, f"not writable: {', '.join(closed)}", fix)
    return Result("folders", True, "data and backups can be written")


def _is_writable(place: Path) -> bool:
    """Itself, or the nearest folder above, in which it would be made."""
    existing = next(path for path in (place, *place.parents) if path.exists())
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def static_files() -> Result:
    """In production the pages need their collected style sheets."""
    if not settings.PRODUCTION:
        return Result("static files", True, "served from the packages (development)")
    ok = (settings.STATIC_ROOT / "staticfiles.json").exists()
    return Result("static files", ok, "collected" if ok else "not collected", "Run `manage.py collectstatic`.")


def rights() -> Result:
    """May our role make what migrations want to make?"""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user")
        role, superuser = cursor.fetchone()
    if not rls.available():
        detail = f"role {role} may not enter {rls.CLIENT}: no API keys bound to a user"
        return Result("rights", False, detail, rls.MISSING.format(role=connection.ops.quote_name(role)))
    if superuser:
        detail = f"role {role}, superuser: neither row-level security nor a missing right holds our own code back"
        return Result("rights", True, detail)
    return Result("rights", True, f"role {role}, no superuser")


# Columns that must have a value and that nobody but a statement of somebody else's would give.
UNFILLED = """
SELECT c.relname || '.' || a.attname, c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relname = ANY(%s) AND pg_table_is_visible(c.oid) AND a.attnum > 0 AND a.attnotnull AND NOT a.atthasdef
    AND NOT a.attisdropped AND a.attidentity = '' ORDER BY 1
"""


def columns() -> Result:
    """Has a table a column that this code does not know, and that no row can be without?"""
    known = {
        model._meta.db_table: {field.column for field in model._meta.local_concrete_fields}
        for model in apps.get_models(include_auto_created=True)
        if not model._meta.proxy
    }
    with connection.cursor() as cursor:
        cursor.execute(UNFILLED, [list(known)])
        unknown = [name for name, table, column in cursor.fetchall() if column not in known[table]]
    if unknown:
        fix = "Give each a default, or take NOT NULL away: ALTER TABLE ... ALTER ... DROP NOT NULL."
        return Result("columns", False, f"NOT NULL, without a default, unknown to this code: {', '.join(unknown)}", fix)
    return Result("columns", True, "every column that needs a value gets one")


def clock() -> Result:
    """Do this machine and the database agree on the time?"""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        skew = abs((datetime.now(UTC) - cursor.fetchone()[0]).total_seconds())
    return Result(
        "clock", skew <= CLOCK_SKEW, f"{skew:.1f} s apart from the database", "Run an NTP client on both machines."
    )


HERE: list[Check] = [python, packages, mode, secrets, disk, folders, static_files]
THERE: list[Check] = [rights, columns, clock]


def examine() -> list[Result]:
    """Everything, in the order in which a person would fix it."""
    results = health.run(HERE)
    reached = health.run([health.database])
    if not reached[0].ok:
        return results + reached
    return results + health.run([*health.READINESS, *health.NOTICES, *THERE])


def _locked() -> Iterable[tuple[str, str, str | None]]:
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if "==" not in line or line.startswith((" ", "#")):
            continue
        pinned, _, condition = line.rstrip("\\ ").partition(" ; ")
        if condition and not Marker(condition.strip()).evaluate():
            continue
        name, version = pinned.strip().split("==")
        yield name, version, _installed(name.split("[")[0])


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
