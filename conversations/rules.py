"""Are the rules of the database still there? Whoever owns the tables can take one away, and nothing else tells."""

from django.db import connection
from django.utils.translation import gettext as _

from config.health import Result

TRIGGERS = (
    "agent_versions_keep_all",
    "agent_versions_write_once",
    "audit_chain_keep_all",
    "audit_chain_write_once",
    "audit_log_chained",
    "audit_log_keep_all",
    "audit_log_write_once",
    "conversations_changed",
    "conversations_refuse_delete",
    "conversations_refuse_truncate",
    "conversations_start_empty",
    "deliveries_place",
    "messages_count",
    "messages_count_deleted",
    "messages_number",
    "messages_refuse_change",
    "messages_refuse_delete",
    "messages_refuse_truncate",
)
INDEXES = (
    "conversations_one_live_per_chat",
    "deliveries_one_per_part",
    "message_buffers_one_per_step",
    "message_fates_message_id_key",
    "messages_one_per_external_id",
    "messages_one_per_index",
    "turns_flush_id_key",
    "turns_one_running",
)
GONE = """
SELECT name FROM unnest(%s::text[]) AS name
WHERE NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = name AND tgenabled IN ('O', 'A'))
UNION ALL
SELECT name FROM unnest(%s::text[]) AS name
WHERE NOT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(quote_ident(name)) AND indisunique AND indisvalid)
"""


def rules() -> Result:
    """Does the database still refuse what must not happen?"""
    with connection.cursor() as cursor:
        cursor.execute(GONE, [list(TRIGGERS), list(INDEXES)])
        gone = sorted(name for (name,) in cursor.fetchall())
    if gone:
        detail = _("missing or switched off: %(names)s") % {"names": ", ".join(gone)}
        return Result("rules", False, detail, _("Taken away by hand: make them again as the migrations do."))
    return Result("rules", True, _("triggers and unique indexes in place: %d") % (len(TRIGGERS) + len(INDEXES)))
