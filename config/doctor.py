"""Every check of an installation: readiness, and what only somebody at the machine can look at."""

import shutil
import stat
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata

from django.conf import settings
from django.db import connection
from packaging.markers import Marker

from config import health
from config.env import ROOT
from config.health import Check, Result

FREE_MEGABYTES = 500
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
        return Result("packages", False, f"not as locked: {', '.join(wrong[:3])}{more}", "Run `make install`.")
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


def static_files() -> Result:
    """In production the pages need their collected style sheets."""
    if not settings.PRODUCTION:
        return Result("static files", True, "served from the packages (development)")
    ok = (settings.STATIC_ROOT / "staticfiles.json").exists()
    return Result("static files", ok, "collected" if ok else "not collected", "Run `manage.py collectstatic`.")


def rights() -> Result:
    """May our role make what migrations want to make?"""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user")
        role, superuser, createrole = cursor.fetchone()
    if superuser or createrole:
        return Result("rights", True, f"role {role}, {'superuser' if superuser else 'may create roles'}")
    fix = f"As a superuser: ALTER ROLE {connection.ops.quote_name(role)} CREATEROLE; then `manage.py migrate`."
    return Result("rights", False, f"role {role} may not create roles: no API keys bound to a user", fix)


def clock() -> Result:
    """Do this machine and the database agree on the time?"""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        skew = abs((datetime.now(UTC) - cursor.fetchone()[0]).total_seconds())
    return Result(
        "clock", skew <= CLOCK_SKEW, f"{skew:.1f} s apart from the database", "Run an NTP client on both machines."
    )


HERE: list[Check] = [python, packages, mode, secrets, disk, static_files]
THERE: list[Check] = [rights, clock]


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
