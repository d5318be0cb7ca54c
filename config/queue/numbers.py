"""What operators see of the queue: readiness checks and metrics, counted from rows."""

from django.db import connection
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from prometheus_client.core import CounterMetricFamily

from config.health import READINESS, Result
from config.metrics import NUMBERS, Number
from config.queue.rows import OF_A_PERIOD

SILENT = 15  # seconds without a heartbeat after which a worker counts as gone
LATE = 60  # seconds the oldest due task may wait before we say that the queue is stuck

START_ONE = gettext_lazy("Start one: `manage.py worker` (in development `make run` does).")


def worker_of(host: str) -> bool:
    """Does the worker that was started last on this host live?"""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT beat_at > clock_timestamp() - %s * interval '1 second' FROM queue_workers"
            " WHERE host = %s AND stopped_at IS NULL ORDER BY id DESC LIMIT 1",
            [SILENT, host],
        )
        row = cursor.fetchone()
    return bool(row and row[0])


def worker() -> Result:
    """Does any worker live?"""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM clock_timestamp() - max(beat_at))::float8, count(*) FILTER"
            " (WHERE beat_at > clock_timestamp() - %s * interval '1 second'),"
            " max(abs(clock_skew_ms)) FILTER (WHERE beat_at > clock_timestamp() - %s * interval '1 second')"
            " FROM queue_workers WHERE stopped_at IS NULL",
            [SILENT, SILENT],
        )
        age, living, skew = cursor.fetchone()
    if not living:
        detail = _("no worker runs") if age is None else _("the last heartbeat is %d s old") % round(age)
        return Result("worker", False, detail, str(START_ONE))
    told = _("worker groups: %(living)d, last heartbeat %(age)d s ago") % {"living": living, "age": max(0, round(age))}
    clock = _(", a clock is off by %s s") % f"{skew / 1000:.1f}" if skew > 2000 else ""
    return Result("worker", True, f"{told}{clock}")


def queue() -> Result:
    """Is due work started in time?"""
    with connection.cursor() as cursor:
        cursor.execute(OLDEST_DUE)
        age = float(cursor.fetchone()[0])
        cursor.execute(f"SELECT count(*) FROM {GIVEN_UP} WHERE NOT overcome")
        given_up = cursor.fetchone()[0]
    aside = _("; given up: %d, see the queue page") % given_up if given_up else ""
    if age > LATE:
        late = _("the oldest due task waits since %d s") % round(age)
        return Result("queue", False, f"{late}{aside}", _("Too few workers?") + f" {START_ONE}")
    return Result("queue", True, _("the oldest due task waits %d s") % round(age) + aside)


OLDEST_DUE = """
SELECT coalesce(greatest(0, max(extract(epoch FROM clock_timestamp() - due_at))), 0)::float8 FROM (
    SELECT due_at FROM queue_tasks WHERE state IN ('waiting', 'leased') AND lease_until IS NULL
    ORDER BY coalesce(lease_until, due_at), id LIMIT 1
) AS first
"""

# What was given up, by the index of it. A period that went well later is overcome: its row is kept, for the record.
GIVEN_UP = f"""(
    SELECT task.state, task.state = 'dead' AND period.name IS NOT NULL AS overcome
    FROM queue_tasks AS task LEFT JOIN queue_periods AS period
        ON {OF_A_PERIOD.format(task="task")} AND period.succeeded > task.id
    WHERE NOT (task.state IN ('waiting', 'leased'))
) AS given_up"""

READINESS += [worker, queue]
NUMBERS += [
    Number(
        "parley_queue_tasks",
        "Tasks in the queue by state; those that are done have no row, overcome is a period that went well since.",
        "SELECT count(task.state), state FROM unnest(ARRAY['waiting', 'leased', 'dead', 'overcome', 'quarantined'])"
        " AS state LEFT JOIN (SELECT state FROM queue_tasks WHERE state IN ('waiting', 'leased')"
        f" UNION ALL SELECT CASE WHEN overcome THEN 'overcome' ELSE state END FROM {GIVEN_UP}"
        ") AS task USING (state) GROUP BY state",
        labels=["state"],
    ),
    Number(
        "parley_queue_due",
        "Tasks that are due and not claimed.",
        "SELECT count(*) FROM queue_tasks WHERE state = 'waiting' AND due_at <= clock_timestamp()",
    ),
    Number("parley_queue_oldest_due_seconds", "How long the oldest due task waits.", OLDEST_DUE),
    Number(
        "parley_queue_ended_5m",
        "Attempts that ended in the last five minutes, by task and result.",
        "SELECT sum(done), name, 'done' FROM queue_minutes"
        " WHERE minute > clock_timestamp() - interval '5 minutes' GROUP BY name"
        " UNION ALL SELECT sum(failed), name, 'failed' FROM queue_minutes"
        " WHERE minute > clock_timestamp() - interval '5 minutes' GROUP BY name",
        labels=["task", "result"],
    ),
    Number(
        "parley_worker_heartbeat_age_seconds",
        "Age of the newest heartbeat of any worker.",
        "SELECT extract(epoch FROM clock_timestamp() - max(beat_at))::float8 FROM queue_workers"
        " WHERE stopped_at IS NULL HAVING count(*) > 0",
    ),
    Number(
        "parley_worker_restarts",
        "Worker groups that had to be killed or started anew.",
        "SELECT coalesce(sum(restarts), 0) FROM queue_workers",
        kind=CounterMetricFamily,
    ),
]
