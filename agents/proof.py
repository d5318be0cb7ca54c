"""Was the record changed? Every link of the chain is computed anew, here and not in the database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.db import connection, transaction

AT_ONCE = 2_000
MOST_PROBLEMS = 50  # told; a chain that was cut in front would be one problem per link

# The same array as the trigger hashes, over what the tables hold now; a missing entry leaves nulls and does not fit.
LINKS = """
SELECT link.seq, link.hash, link.entry_id, entry.id IS NULL, jsonb_build_array(
    link.seq, coalesce(lag(link.hash) OVER (ORDER BY link.seq), ''), entry.id, entry.action, entry.actor,
    entry.on_behalf_of, entry.subject_type, entry.subject_id, entry.details, entry.status, entry.git_commit,
    entry.git_branch, entry.request_id, (extract(epoch FROM entry.created_at) * 1000000)::bigint)::text
FROM audit_chain AS link LEFT JOIN audit_log AS entry ON entry.id = link.entry_id
ORDER BY link.seq
"""
UNLINKED = """
SELECT entry.id FROM audit_log AS entry
WHERE NOT EXISTS (SELECT FROM audit_chain AS link WHERE link.entry_id = entry.id) LIMIT %s
"""
GUARDS = """
SELECT expected.name FROM unnest(ARRAY['audit_log_write_once', 'audit_log_keep_all', 'audit_log_chained',
    'audit_chain_write_once', 'audit_chain_keep_all']) AS expected(name)
WHERE NOT EXISTS (SELECT FROM pg_trigger
    WHERE tgname = expected.name AND tgrelid IN ('audit_log'::regclass, 'audit_chain'::regclass)
        AND tgenabled IN ('O', 'A'))
"""


@dataclass
class Verdict:
    """How many entries were checked, what is wrong, and the last link, to be kept elsewhere and asked for later."""

    entries: int = 0
    head: str = ""
    problems: list[str] = field(default_factory=list)

    def blame(self, problem: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)


def verify(head: str | None = None) -> Verdict:
    """Check every link, that none is missing, that the triggers stand, and that a head noted earlier is still there."""
    verdict = Verdict()
    with transaction.atomic():
        _whole_table_at_one_moment()
        heads = _follow(verdict, looking_for=head)
        with connection.cursor() as cursor:
            cursor.execute(UNLINKED, [MOST_PROBLEMS])
            for (entry,) in cursor.fetchall():
                verdict.blame(f"entry {entry} is in no link: it was added behind the trigger's back")
            cursor.execute(GUARDS)
            for (name,) in cursor.fetchall():
                verdict.blame(f"the trigger {name} is missing or disabled")
    if head and not heads:
        verdict.blame(f"the head {head} is not in the chain any more: what came after it, or it itself, was replaced")
    return verdict


def _follow(verdict: Verdict, *, looking_for: str | None) -> bool:
    """Walk the chain; was the head we look for among its links?"""
    expected, seen = 1, False
    for seq, stored, entry, missing, content in _links():
        if seq != expected:
            verdict.blame(f"links {expected} to {seq - 1} are missing")
        expected = seq + 1
        if missing:
            verdict.blame(f"link {seq}: its entry {entry} is gone")
        elif hashlib.sha256(content.encode()).hexdigest() != stored:
            verdict.blame(f"link {seq}: entry {entry}, or the link before it, is not what was recorded")
        verdict.entries += not missing
        verdict.head = f"{seq}:{stored}"
        seen = seen or verdict.head == looking_for
    return seen


def _links() -> Iterator[tuple[int, str, object, bool, str]]:
    with connection.cursor() as cursor:
        cursor.execute(f"DECLARE links NO SCROLL CURSOR FOR {LINKS}")
        while True:
            cursor.execute(f"FETCH {AT_ONCE} FROM links")
            rows = cursor.fetchall()
            yield from rows
            if len(rows) < AT_ONCE:
                return


def _whole_table_at_one_moment() -> None:
    """Entries that come while we look would seem unlinked, and a long log takes longer than a request may."""
    with connection.cursor() as cursor:
        if not connection.savepoint_ids:  # the transaction is ours
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SET LOCAL statement_timeout = 0")
