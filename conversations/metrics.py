"""What /metrics tells of bursts, turns, fates and deliveries: windows of an hour, so that a scrape costs the same."""

from prometheus_client.core import CounterMetricFamily

from config.doctor import THERE
from config.health import NOTICES
from config.metrics import NUMBERS, Number
from conversations import bots, undelivered
from conversations.reconcile import FORGOTTEN_TODAY, complete, forgotten

# Not clock_timestamp(): what may change while a statement runs is no condition of an index, and all rows would be read.
LAST_HOUR = "created_at > statement_timestamp() - interval '1 hour'"

NOTICES += [undelivered.deliveries, bots.bots, bots.outages]
THERE += [forgotten, complete]
NUMBERS += [
    Number("parley_bursts_open", "Bursts that are being listened to.", "SELECT count(*) FROM message_buffers"),
    Number(
        "parley_bursts_overdue",
        "Open bursts whose time has been over for five seconds.",
        "SELECT count(*) FROM message_buffers WHERE flush_at < clock_timestamp() - interval '5 seconds'",
    ),
    Number(
        "parley_turns_unfinished",
        "Turns that owe an answer, by status.",
        "SELECT count(*), status FROM turns WHERE status IN ('waiting', 'running') GROUP BY status",
        labels=["status"],
    ),
    Number(
        "parley_turns_last_hour",
        "Turns sealed in the last hour, by trigger and status.",
        f"SELECT count(*), trigger, status FROM turns WHERE {LAST_HOUR} GROUP BY trigger, status",
        labels=["trigger", "status"],
    ),
    Number(
        "parley_burst_wait_seconds",
        "How long the bursts of the last hour were listened to.",
        "SELECT percentile_cont(q) WITHIN GROUP (ORDER BY waited_ms) / 1000, q FROM turns,"
        f" unnest(ARRAY[0.5, 0.95]) AS q WHERE {LAST_HOUR} GROUP BY q",
        labels=["quantile"],
    ),
    Number(
        "parley_burst_messages",
        "How many messages the bursts of the last hour had.",
        "SELECT percentile_cont(q) WITHIN GROUP (ORDER BY jsonb_array_length(input)), q FROM turns,"
        f" unnest(ARRAY[0.5, 0.95]) AS q WHERE {LAST_HOUR} GROUP BY q",
        labels=["quantile"],
    ),
    Number(
        "parley_typing_extensions_last_hour",
        "How often typing kept a burst of the last hour open.",
        f"SELECT coalesce(sum(extended_by_typing), 0) FROM turns WHERE {LAST_HOUR}",
    ),
    Number(
        "parley_flush_lateness_seconds",
        "From the end of the listening to the start of the turn, in the last hour.",
        "SELECT percentile_cont(q) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - due_at)), q FROM turns,"
        f" unnest(ARRAY[0.5, 0.99]) AS q WHERE {LAST_HOUR} AND started_at IS NOT NULL GROUP BY q",
        labels=["quantile"],
    ),
    Number(
        "parley_messages_without_fate",
        "Messages of the last day that neither wait nor have a fate; anything but 0 is a bug (manage.py reconcile).",
        FORGOTTEN_TODAY,
    ),
    Number(
        "parley_bot_heartbeat_age_seconds",
        "Age of the last heartbeat of each bot that was not stopped.",
        "SELECT extract(epoch FROM clock_timestamp() - beat_at)::float8, channel, account FROM bots"
        " WHERE stopped_at IS NULL",
        labels=["channel", "account"],
    ),
    Number(
        "parley_outage_updates",
        "What bots heard and answered without the database, and what of it could not be stored, since the beginning.",
        "SELECT sum(updates), 'heard' FROM outages UNION ALL SELECT sum(answers), 'answered' FROM outages"
        " UNION ALL SELECT sum(rejected + damaged), 'lost' FROM outages",
        labels=["what"],
        kind=CounterMetricFamily,
    ),
    Number(
        "parley_counted",
        "What leaves no row of its own, since the beginning.",
        "SELECT sum(count), name FROM tallies GROUP BY name",
        labels=["what"],
        kind=CounterMetricFamily,
    ),
    Number(
        "parley_deliveries_unsent",
        "Parts of messages that are to be sent, by channel and status.",
        "SELECT count(*), channel, status FROM deliveries WHERE status IN ('pending', 'sending')"
        " GROUP BY channel, status",
        labels=["channel", "status"],
    ),
    Number("parley_deliveries_oldest_due_seconds", "How long the oldest due part waits.", undelivered.OLDEST),
    Number(
        "parley_deliveries_undecided",
        "Parts that did not surely arrive and wait for staff, by channel and status.",
        "SELECT count(*), channel, status FROM deliveries"
        " WHERE status IN ('unknown', 'failed') AND resolved_at IS NULL GROUP BY channel, status",
        labels=["channel", "status"],
    ),
    Number(
        "parley_deliveries_last_hour",
        "Parts written in the last hour, by channel and status.",
        f"SELECT count(*), channel, status FROM deliveries WHERE {LAST_HOUR} GROUP BY channel, status",
        labels=["channel", "status"],
    ),
    Number(
        "parley_delivery_seconds",
        "From the writing of an answer to its arrival, in the last hour.",
        "SELECT percentile_cont(q) WITHIN GROUP (ORDER BY extract(epoch FROM sent_at - created_at)), q"
        f" FROM deliveries, unnest(ARRAY[0.5, 0.95]) AS q WHERE {LAST_HOUR} AND sent_at IS NOT NULL GROUP BY q",
        labels=["quantile"],
    ),
]
