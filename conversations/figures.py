"""What the start page tells of messages, bursts, turns and deliveries. Every query reads the end of an index."""

from __future__ import annotations

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from config.figures import CHARTS, Chart, Told, count, figure, span
from conversations import tally
from conversations.reconcile import FORGOTTEN_TODAY, SENT
from conversations.undelivered import FORGIVEN, OLDEST, STUCK

PEOPLE, ANSWERS, ARRIVING, LOG = (
    gettext_lazy("People"), gettext_lazy("Answers"), gettext_lazy("Arriving"), gettext_lazy("The log"),
)  # fmt: skip
TALKS, BURSTS = "admin:conversations_conversation_changelist", "admin:conversations_messagebuffer_changelist"
TURNS, DELIVERIES = "admin:conversations_turn_changelist", "admin:conversations_delivery_changelist"
SEE_TALKS, SEE_BURSTS = "conversations.view_conversation", "conversations.view_messagebuffer"
SEE_TURNS, SEE_DELIVERIES = "conversations.view_turn", "conversations.view_delivery"

SINCE_YESTERDAY = SENT.format(since="'1 day'")  # what people sent
DAY = "created_at > statement_timestamp() - interval '1 day'"
MOST = 10_000  # conversations are counted up to here
SPIKE, FEW = 5, 50  # so many times what is usual are a spike, of at least so many messages
STALLED = 60.0  # seconds somebody should have looked at a burst or a turn

BY_THE_HOUR = f"""
WITH said AS (
    SELECT floor(extract(epoch FROM uuid_extract_timestamp(id) - %(since)s) / 3600)::int AS step, count(*) AS number
    FROM messages WHERE {SENT.format(since="%(ago)s")} GROUP BY 1
), sealed AS (
    SELECT floor(extract(epoch FROM created_at - %(since)s) / 3600)::int AS step, count(*) AS number
    FROM turns WHERE created_at >= %(since)s GROUP BY 1
)
SELECT step, coalesce(said.number, 0), coalesce(sealed.number, 0) FROM said FULL JOIN sealed USING (step)
"""
CHARTS.append(
    Chart(
        gettext_lazy("The last 24 hours"),
        (gettext_lazy("messages from people"), gettext_lazy("bursts that became turns")),
        BY_THE_HOUR,
        SEE_TURNS,
        gettext_lazy("Nobody has written in the last 24 hours. Write to an agent yourself in the playground."),
        "admin:conversations_conversation_playground",
    )
)


@figure(
    gettext_lazy("Messages, last hour"),
    "SELECT count(*) FILTER (WHERE uuid_extract_timestamp(id) > statement_timestamp() - interval '1 hour'), count(*)"
    f" FROM messages WHERE {SINCE_YESTERDAY}",
    group=PEOPLE, permission=SEE_TALKS, page=TALKS,
)  # fmt: skip
def messages(hour: int, day: int) -> Told:
    usual = (day - hour) / 23
    alert = ""
    if hour >= FEW and hour > SPIKE * usual:
        alert = _("%(now)s messages in an hour, where %(usual)s are usual: is a bot writing to the bot?")
    elif not hour and usual >= FEW:
        alert = _("Not one message in an hour, where %(usual)s are usual: do the channels still listen?")
    told = {"now": count(hour), "usual": count(round(usual))}
    return Told(count(hour), _("%s in 24 hours") % count(day), alert % told)


@figure(
    gettext_lazy("Conversations, 24 hours"),
    "SELECT count(*) FROM (SELECT FROM conversations WHERE last_message_at > statement_timestamp() - interval '1 day'"
    f" LIMIT {MOST + 1}) AS active",
    group=PEOPLE, permission=SEE_TALKS, page=TALKS,
)  # fmt: skip
def active(number: int) -> Told:
    return Told(count(number) if number <= MOST else f"{count(MOST)}+", _("in which something was said"))


WAITING = """
SELECT count(*), extract(epoch FROM clock_timestamp() - min(last_message_at))::float8 FROM (
    SELECT id, mode, message_count, last_message_at FROM conversations WHERE last_message_at IS NOT NULL
    ORDER BY last_message_at DESC NULLS LAST, id DESC LIMIT 2000
) AS latest
WHERE mode = 'manual' AND EXISTS (
    SELECT FROM messages WHERE conversation_id = latest.id AND message_index = latest.message_count - 1
        AND role = 'user' AND deleted_at IS NULL
)
"""


@figure(
    gettext_lazy("Waiting for staff"), WAITING,
    group=PEOPLE, permission=SEE_TALKS, page=TALKS, mode__exact="manual",
)  # fmt: skip
def staffed(number: int, longest: float | None) -> Told:
    if not number:
        return Told(count(0), _("among the 2,000 latest conversations"))
    alert = ngettext(
        "%(number)s person waits for staff, the longest for %(longest)s.",
        "%(number)s people wait for staff, the longest for %(longest)s.",
        number,
    ) % {"number": count(number), "longest": span(longest)}
    return Told(count(number), _("the longest for %s") % span(longest), alert)


@figure(
    gettext_lazy("Bursts waiting"),
    "SELECT count(*), extract(epoch FROM clock_timestamp() - min(created_at))::float8,"
    " extract(epoch FROM clock_timestamp() - min(flush_at))::float8 FROM message_buffers",
    group=PEOPLE, permission=SEE_BURSTS, page=BURSTS,
)  # fmt: skip
def bursts(number: int, longest: float | None, late: float | None) -> Told:
    alert = ""
    if late is not None and late > STALLED:
        alert = _("A burst should have been answered %s ago: does a worker run?") % span(late)
    return Told(count(number), _("the longest for %s") % span(longest) if number else _("nobody is writing"), alert)


@figure(
    gettext_lazy("Turns running"),
    "SELECT count(*) FILTER (WHERE status = 'running'), count(*) FILTER (WHERE status = 'waiting'),"
    " max(extract(epoch FROM clock_timestamp() - CASE status WHEN 'running' THEN lease_until ELSE next_attempt_at END))"
    "::float8 FROM turns WHERE status IN ('waiting', 'running')",
    group=ANSWERS, permission=SEE_TURNS, page=TURNS, status__exact="running",
)  # fmt: skip
def running(number: int, waiting: int, late: float | None) -> Told:
    alert = ""
    if late is not None and late > STALLED:
        alert = _("Nobody has looked at a turn for %s: are there enough workers?") % span(late)
    return Told(count(number), _("waiting for an attempt: %s") % count(waiting), alert)


@figure(
    gettext_lazy("Turns failed, 24 hours"),
    "SELECT count(*) FILTER (WHERE status = 'failed'),"
    " count(*) FILTER (WHERE status = 'failed' AND finished_at > statement_timestamp() - interval '1 hour'),"
    f" count(*) FROM turns WHERE {DAY}",
    group=ANSWERS, permission=SEE_TURNS, page=TURNS, status__exact="failed",
)  # fmt: skip
def failed(number: int, lately: int, turns: int) -> Told:
    alert = ""
    if lately:
        alert = ngettext(
            "%s turn failed in the last hour: its story says why.",
            "%s turns failed in the last hour: their stories say why.",
            lately,
        ) % count(lately)
    return Told(count(number), _("of %s") % count(turns), alert)


# The newest 2,000 of the day: medians of more would say the same.
LATEST = f"(SELECT * FROM turns WHERE {DAY} AND status = 'done' ORDER BY created_at DESC LIMIT 2000) AS latest"


@figure(
    gettext_lazy("Until the answer"),
    "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY took), percentile_cont(0.95) WITHIN GROUP (ORDER BY took)"
    f" FROM (SELECT extract(epoch FROM finished_at - due_at)::float8 AS took FROM {LATEST}) AS times",
    group=ANSWERS, permission=SEE_TURNS, page=TURNS, status__exact="done",
)  # fmt: skip
def latency(half: float | None, most: float | None) -> Told:
    if half is None:
        return Told("–", _("nothing was answered in 24 hours"))
    return Told(span(half), _("after listening; 95 %% within %s") % span(most))


@figure(
    gettext_lazy("Listened for"),
    "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY waited_ms / 1000.0)::float8,"
    f" avg(jsonb_array_length(input))::float8 FROM {LATEST}",
    group=ANSWERS, permission=SEE_TURNS, page=TURNS,
)  # fmt: skip
def listened(half: float | None, size: float | None) -> Told:
    return Told(span(half), _("messages in a burst: %s") % number_format(size, 1) if size else "")


@figure(
    gettext_lazy("Tokens, 24 hours"),
    f"SELECT coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0) FROM turns WHERE {DAY}",
    group=ANSWERS, permission=SEE_TURNS, page=TURNS,
)  # fmt: skip
def tokens(read: int, written: int) -> Told:
    both = {"read": count(read), "written": count(written)}
    return Told(count(read + written), _("read: %(read)s, written: %(written)s") % both)


@figure(
    gettext_lazy("To be sent"),
    "SELECT (SELECT count(*) FROM deliveries WHERE status IN ('pending', 'sending')),"
    f" ({OLDEST})",
    group=ARRIVING, permission=SEE_DELIVERIES, page=DELIVERIES, status__exact="pending",
)  # fmt: skip
def unsent(number: int, late: float) -> Told:
    alert = ""
    if late > STUCK:
        alert = _("An answer has waited %s to be sent: does its bot run, and has its channel its token?") % span(late)
    return Told(count(number), _("the oldest has waited for %s") % span(late) if late > 1 else _("on time"), alert)


@figure(
    gettext_lazy("For you to decide"),
    "SELECT count(*) FILTER (WHERE status = 'unknown'), count(*) FILTER (WHERE status = 'failed'),"
    f" count(*) FILTER (WHERE updated_at > statement_timestamp() - interval '{FORGIVEN}')"
    " FROM deliveries WHERE status IN ('unknown', 'failed') AND resolved_at IS NULL",
    group=ARRIVING, permission=SEE_DELIVERIES, page=DELIVERIES, undecided="1",
)  # fmt: skip
def undecided(unknown: int, failed: int, lately: int) -> Told:
    alert = ""
    if lately:
        alert = ngettext(
            "%s part of an answer may not have arrived: resend it, or say what became of it.",
            "%s parts of answers may not have arrived: resend them, or say what became of them.",
            lately,
        ) % count(lately)
    note = _("unknown: %(unknown)s, failed: %(failed)s") % {"unknown": count(unknown), "failed": count(failed)}
    return Told(count(unknown + failed), note, alert)


REASONS = """
SELECT coalesce(sum(number), 0)::bigint, coalesce(sum(lately), 0)::bigint,
    string_agg(format('%s: %s', substr(name, {skip}), number), ', ' ORDER BY number DESC, name)
FROM (
    SELECT name, sum(count) AS number,
        sum(count) FILTER (WHERE hour > statement_timestamp() - interval '2 hours') AS lately
    FROM tallies
    WHERE hour > statement_timestamp() - interval '1 day' AND starts_with(name, '{prefix}') GROUP BY name
) AS reasons
"""


@figure(
    gettext_lazy("Messages refused, 24 hours"),
    REASONS.format(prefix=tally.REFUSED, skip=len(tally.REFUSED) + 1),
    group=LOG, permission=SEE_TALKS,
)  # fmt: skip
def refused(number: int, lately: int, reasons: str | None) -> Told:
    alert = ""
    if lately:
        alert = _("Messages are refused and not stored (%s): what each means stands in docs/api.md.") % reasons
    return Told(count(number), reasons or _("by a rule of the log"), alert)


@figure(
    gettext_lazy("Appends failed, 24 hours"),
    REASONS.format(prefix=tally.FAILED, skip=len(tally.FAILED) + 1),
    group=LOG, permission=SEE_TALKS,
)  # fmt: skip
def unstored(number: int, lately: int, reasons: str | None) -> Told:
    alert = ""
    if lately:
        alert = _("Failed appends: callers were told to try again (%s), docs/api.md says what each means.") % reasons
    return Told(count(number), reasons or _("by a fault of ours"), alert)


@figure(
    gettext_lazy("Errors of the API, 24 hours"),
    "SELECT coalesce(sum(count), 0)::bigint,"
    " coalesce(sum(count) FILTER (WHERE hour > statement_timestamp() - interval '2 hours'), 0)::bigint"
    f" FROM tallies WHERE hour > statement_timestamp() - interval '1 day' AND name = '{tally.API_FAILED}'",
    group=LOG, permission=SEE_TALKS,
)  # fmt: skip
def mistakes(number: int, lately: int) -> Told:
    alert = _("The API answered 500: the web log has the trace.") if lately else ""
    return Told(count(number), _("mistakes of ours"), alert)


@figure(
    gettext_lazy("Forgotten messages"),
    FORGOTTEN_TODAY,
    group=LOG, permission=SEE_TALKS,
)  # fmt: skip
def forgotten(number: int) -> Told:
    alert = _("Messages neither wait nor have a fate: `manage.py reconcile` names and mends them.") if number else ""
    return Told(count(number), _("in 24 hours; more than none is a bug"), alert)


@figure(
    gettext_lazy("Wrong counts"),
    "SELECT count(*) FROM (SELECT id, message_count FROM conversations WHERE last_message_at IS NOT NULL"
    " ORDER BY last_message_at DESC NULLS LAST, id DESC LIMIT 200) AS latest WHERE message_count <> coalesce("
    "(SELECT max(message_index) + 1 FROM messages WHERE conversation_id = latest.id), 0)",
    group=LOG, permission=SEE_TALKS, page=TALKS,
)  # fmt: skip
def miscounted(number: int) -> Told:
    alert = _("Conversations count other messages than they have: somebody went past the rules of the log.")
    return Told(count(number), _("among the 200 latest conversations"), alert if number else "")
