"""Is it alive, and is it ready? The checks behind /healthz, /readyz and `manage.py doctor`."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.utils.translation import gettext as _
from django.utils.translation import override
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from config.probes import Held

log = structlog.get_logger(__name__)

MIGRATIONS_HOLD = 60  # seconds


@dataclass(frozen=True)
class Result:
    """What one check found: `fix` tells what to do where `ok` is false."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


Check = Callable[[], Result]


def database() -> Result:
    """Does PostgreSQL answer a query?"""
    if settings.EMBEDDED_DATABASE:
        fix = _("The embedded PostgreSQL runs while `make run` or a manage.py command does: start one of them.")
    else:
        fix = _("Is the server of DATABASE_URL up, and may this machine and role connect to it?")
    started = time.monotonic()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('server_version')")
            version = cursor.fetchone()[0]
    except DatabaseError as error:
        return Result("database", False, str(error).strip().splitlines()[0], fix)
    took = {"version": version, "ms": round(1000 * (time.monotonic() - started))}
    return Result("database", True, _("PostgreSQL %(version)s, %(ms)d ms") % took)


def extension() -> Result:
    """Is pgvector there?"""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extversion, extnamespace::regnamespace::text, to_regtype('vector') IS NOT NULL"
            " FROM pg_extension WHERE extname = 'vector'"
        )
        row = cursor.fetchone()
    if row is None:
        return Result(
            "extension",
            False,
            _("pgvector is not created in this database"),
            _(
                "Run `manage.py migrate`; on a server of your own install pgvector first"
                " (package postgresql-18-pgvector)."
            ),
        )
    version, schema, is_found = row
    if not is_found:
        return Result(
            "extension",
            False,
            _("pgvector is in the schema %s, where nothing looks for it") % schema,
            _("Add the schema to the search_path of the role: ALTER ROLE ... SET search_path = public, ..."),
        )
    return Result("extension", True, f"pgvector {version}")


# What the clients' role may touch, or was meant to be protected, and is not. FORCE matters to the owner alone.
UNPROTECTED = """
SELECT c.relname FROM pg_class c LEFT JOIN pg_policy p ON p.polrelid = c.oid AND p.polname = 'own_rows'
WHERE c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid)
    AND (p.oid IS NOT NULL OR EXISTS (SELECT FROM aclexplode(c.relacl) WHERE grantee = to_regrole('parley_client')))
    AND NOT (c.relrowsecurity AND p.oid IS NOT NULL)
ORDER BY 1
"""


def isolation() -> Result:
    """Does the database keep end users apart?"""
    with connection.cursor() as cursor:
        cursor.execute(UNPROTECTED)
        tables = [name for (name,) in cursor.fetchall()]
    if tables:
        detail = _("row-level security is off: %s") % ", ".join(tables)
        fix = _("Switched off by hand: ENABLE ROW LEVEL SECURITY, with the policy own_rows, on each.")
        return Result("isolation", False, detail, fix)
    return Result("isolation", True, _("row-level security is on"))


_migrated_at: float | None = None  # walking the migrations costs 0.1 s, so a good answer holds for a while


def migrations() -> Result:
    """Does the schema match this code?"""
    global _migrated_at
    if _migrated_at and time.monotonic() - _migrated_at < MIGRATIONS_HOLD:
        return Result("migrations", True, _("all applied"))
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        names = ", ".join(f"{migration.app_label}.{migration.name}" for migration, _backwards in plan[:3])
        more = _(" and %d more") % (len(plan) - 3) if len(plan) > 3 else ""
        return Result("migrations", False, _("not applied: %s") % names + more, _("Run `manage.py migrate`."))
    _migrated_at = time.monotonic()
    return Result("migrations", True, _("all applied"))


READINESS: list[Check] = [database, extension, migrations, isolation]
NOTICES: list[Check] = []  # what staff should mend soon; a process that serves is ready all the same


def run(checks: list[Check]) -> list[Result]:
    """Run the checks in order; once the database does not answer, those behind it would only wait for it again."""
    results: list[Result] = []
    away = False
    for check in checks:
        if away:
            detail = _("not asked: the database is away")
            results.append(Result(check.__name__, False, detail, _("See the database line.")))
            continue
        try:
            results.append(check())
        except DatabaseError as error:
            reason = str(error).strip().splitlines()[0]
            results.append(Result(check.__name__, False, reason, _("See the database line.")))
        away = check is database and not results[-1].ok
    return results


@never_cache
@require_safe
def healthz(_request: HttpRequest) -> JsonResponse:
    """Alive: the process answers. Says nothing of the database, so that a restart of it does not restart us."""
    return JsonResponse({"status": "ok"})


def _ask() -> list[Result]:
    with override("en"):  # machines compare it, whatever they accept
        results = run(READINESS)
    for result in results:
        if not result.ok:
            log.warning("not ready", check=result.name, detail=result.detail)
    return results


_readiness = Held(_ask)


@never_cache
@require_safe
def readyz(_request: HttpRequest) -> JsonResponse:
    """Ready to be sent work: every readiness check passes, else 503 with the ones that do not.

    Strangers may call this: the reason of a failure is in the log and in `manage.py doctor`, not here.
    """
    results = _readiness.get()
    ready = all(result.ok for result in results)
    body = {
        "status": "ready" if ready else "not ready",
        "checks": {result.name: result.detail if result.ok else "failed" for result in results},
    }
    return JsonResponse(body, status=200 if ready else 503, headers={} if ready else {"Retry-After": "5"})
