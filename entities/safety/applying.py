"""Applies a plan to a database that people use: judged, backed up, rehearsed; then patient and on record."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from django.conf import settings
from django.contrib.postgres.operations import AddIndexConcurrently
from django.core.management.base import CommandError
from django.db import OperationalError, connection
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState

from agents import audit
from agents.models import Status
from entities import backup, postgres, rehearsal
from entities.postgres import Say, ToolError
from entities.restoring import SCRATCH
from entities.safety import kept, plans

log = structlog.get_logger(__name__)

Plan = Sequence[tuple[Migration, bool]]

ONE_MIGRATES = 0x7061726C  # the key of an advisory lock
LOCK_NOT_AVAILABLE = "55P03"
TRIES = 30
LONGEST_PAUSE = 3.0  # seconds between two tries; what waits behind our lock gets its turn

FILLED = """
SELECT quote_ident(tablename) FROM pg_tables
WHERE schemaname = current_schema() AND tablename !~ '^(django|auth)_' OR tablename = 'auth_user'
"""


@dataclass
class Wanted:
    """What the caller asked for."""

    arguments: Sequence[str] = ()  # of `migrate`, for the rehearsal
    rehearse: bool = True
    keep: bool = True  # take a backup
    force: bool = False
    rehearsing: bool = False  # this is the rehearsal
    prepared: str = ""  # backed up under this name, and rehearsed, by who called us
    by: str = "migrate"
    say: Say = field(default=lambda _line: None)


def holds_data() -> bool:
    """Is there a row of ours, or a staff login? A database without has nothing to lose."""
    with connection.cursor() as cursor:
        cursor.execute(FILLED)
        tables = [name for (name,) in cursor.fetchall()]
        if not tables:
            return False
        cursor.execute("SELECT " + " OR ".join(f"EXISTS (SELECT FROM {table})" for table in tables))
        return bool(cursor.fetchone()[0])


def executor_for(wanted: Wanted) -> type[MigrationExecutor]:
    """Django's executor, with the steps around it."""

    class Careful(CarefulExecutor):
        options = wanted

    return Careful


class CarefulExecutor(MigrationExecutor):
    """Refuses before the first statement; where there is data, backs up, rehearses, and never waits long for a lock."""

    options = Wanted()

    def migrate(
        self,
        targets: Any,
        plan: Any = None,
        state: ProjectState | None = None,
        fake: bool = False,
        fake_initial: bool = False,
    ) -> ProjectState:
        plan = self.migration_plan(targets) if plan is None else plan
        self.in_use = bool(plan) and holds_data()

        def apply(plan: Plan, state: ProjectState | None = None) -> ProjectState:
            with kept.while_migrating(plan):
                return super(CarefulExecutor, self).migrate(targets, plan, state, fake, fake_initial)

        if not self.in_use or fake:
            return apply(plan, state)
        if self.options.rehearsing:
            self._refuse_elsewhere()
            refuse_unsafe(self, plan)
            return apply(plan, state)
        return self._carefully(plan, apply)

    def _refuse_elsewhere(self) -> None:
        if not str(connection.settings_dict["NAME"]).startswith(SCRATCH):
            raise CommandError("--rehearsing is for scratch copies alone.")

    def _carefully(self, plan: Plan, apply: Callable[[Plan], ProjectState]) -> ProjectState:
        """1. judged, 2. backed up, 3. rehearsed, 4. applied, 5. on record."""
        if not plan:
            return apply(plan)
        refuse_unsafe(self, plan)
        told: dict[str, Any] = {"migrations": [str(migration) for migration, _ in plan]}
        told |= prepare(self.options)
        begun = time.monotonic()
        try:
            state = apply(plan)
        except BaseException as error:
            told["error"] = f"{type(error).__name__}: {error}"[:500]
            self.connection.close()
            audit.record("schema.migrate", self.options.by, details=told, status=Status.FAILURE)
            raise
        told["seconds"] = round(time.monotonic() - begun, 1)
        audit.record("schema.migrate", self.options.by, details=told)
        return state

    def apply_migration(
        self, state: ProjectState, migration: Migration, fake: bool = False, fake_initial: bool = False
    ) -> ProjectState:
        if fake or not getattr(self, "in_use", False):
            return super().apply_migration(state, migration, fake, fake_initial)
        for attempt in range(1, TRIES + 1):
            try:
                with short_waits(migration):
                    remove_half_built(migration)
                    return super().apply_migration(state.clone(), migration, fake, fake_initial)
            except OperationalError as error:
                if getattr(error.__cause__, "sqlstate", "") != LOCK_NOT_AVAILABLE or attempt == TRIES:
                    raise
                pause = random.uniform(0.5, 1) * min(LONGEST_PAUSE, 0.2 * 2**attempt)  # noqa: S311  jitter
                log.info("migration waits for a lock", migration=str(migration), attempt=attempt)
                time.sleep(pause)
        raise AssertionError("unreachable")


def refuse_unsafe(executor: MigrationExecutor, plan: Plan) -> None:
    """Before the first statement."""
    back = [str(migration) for migration, backwards in plan if backwards and migration.app_label in plans.OURS]
    if back:
        raise CommandError(
            f"Going back would drop what {', '.join(back[:5])} made, with the rows in it: nothing was changed.\n"
            "    Instead: a new migration, or `manage.py restore` for the state of a backup."
        )
    state = executor._create_project_state(with_applied_migrations=True)  # type: ignore[attr-defined]
    with connection.cursor() as cursor:
        existing = set(connection.introspection.table_names(cursor))
    if problems := plans.judge([migration for migration, _ in plan], state, existing=existing):
        raise CommandError(plans.told(problems))


def prepare(wanted: Wanted) -> dict[str, Any]:
    """A backup, and a rehearsal from it; what is left out is asked for by name, and on record."""
    if wanted.prepared:
        return {"backup": wanted.prepared, "rehearsal": "before"}
    skipped = [name for name, left in (("backup", not wanted.keep), ("rehearsal", not wanted.rehearse)) if left]
    if skipped and settings.PRODUCTION and not wanted.force:
        raise CommandError(f"In production no {' and no '.join(skipped)} is refused, unless --force says so.")
    if not wanted.keep:
        return {"backup": "skipped", "rehearsal": "skipped", "forced": wanted.force}
    try:
        wanted.say("Taking a backup ...")
        taken = backup.take(by=wanted.by, reason="migrate")
        if not wanted.rehearse:
            return {"backup": taken.name, "rehearsal": "skipped", "forced": wanted.force}
        wanted.say(f"Rehearsing on a copy of {taken.rows} rows ...")
        rehearsed = rehearsal.rehearse(taken, wanted.arguments)
    except ToolError as error:
        raise CommandError(
            f"{error}\nNothing was changed. Without a rehearsal: `manage.py migrate --no-rehearsal`; without a backup "
            "as well: `--no-backup` (production wants --force with either; both are on record)."
        ) from error
    wanted.say(rehearsed.told())
    if not rehearsed.ok:
        audit.record("schema.rehearse", wanted.by, details=rehearsed.as_json(), status=Status.REFUSED)
        raise CommandError(f"{rehearsed.told()}\nNothing was changed.")
    return {"backup": taken.name, "rehearsal": {"seconds": rehearsed.seconds, "changed": rehearsed.changed}}


@contextmanager
def nobody_else() -> Iterator[None]:
    """Two deployments at once: the second waits. It asks again and again, as a waiting statement would hold a snapshot
    for which indexes built in the background wait in turn."""
    connection.ensure_connection()  # a database that is away is told as it always is
    with postgres.connect() as lock:
        for _ in range(6000):
            row = lock.execute("SELECT pg_try_advisory_lock(%s)", [ONE_MIGRATES]).fetchone()
            if row and row[0]:
                break
            time.sleep(0.1)
        else:
            raise CommandError("Another migration has been running for ten minutes: nothing was changed.")
        yield


@contextmanager
def short_waits(migration: Migration) -> Iterator[None]:
    """Whoever waits for a table's lock holds up all who come later, so nobody waits long.

    An index in the background holds nobody up: it may take its time.
    """
    lock, statement = settings.MIGRATION_LOCK_TIMEOUT, settings.MIGRATION_STATEMENT_TIMEOUT
    if not migration.atomic:
        lock, statement = 60 * 1000, 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout'), current_setting('statement_timeout')")
        before = cursor.fetchone()
        cursor.execute(f"SET lock_timeout = {int(lock)}; SET statement_timeout = {int(statement)}")
    try:
        yield
    finally:
        if connection.connection is not None and not connection.connection.closed:
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, false)", [before[0]])
                cursor.execute("SELECT set_config('statement_timeout', %s, false)", [before[1]])


def remove_half_built(migration: Migration) -> None:
    """What a killed AddIndexConcurrently left: an invalid index goes; a valid one only lacks its line in the list."""
    for operation in migration.operations:
        if not isinstance(operation, AddIndexConcurrently):
            continue
        name = connection.ops.quote_name(operation.index.name)
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_class WHERE oid = to_regclass(%s) AND relkind = 'i'", [name])
            if cursor.fetchone() is not None:  # built or half built: building it again is safe, and the same
                cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
