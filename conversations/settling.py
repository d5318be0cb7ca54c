"""What settling a turn writes, each in one statement; `turns.settle` says in which order.

They are prepared, because the person waits for them: every turn runs them once.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from agents.outcomes import Outcome, Replied, Silent
from config.statements import ask
from conversations.burst import Window
from conversations.log import encode
from conversations.models import TurnStatus

# The conversation first, as every writer does, then the turn, where it is still the claim's: both are ours until we
# commit. Without the second lock a claim after our look would leave two replies, each by its own lease.
HOLD = """
WITH held AS MATERIALIZED (SELECT id FROM conversations WHERE id = %s FOR NO KEY UPDATE)
SELECT turns.id FROM held JOIN turns ON turns.conversation_id = held.id
WHERE turns.id = %s AND turns.generation = %s AND turns.status = 'running'
FOR NO KEY UPDATE OF turns
"""


def hold(conversation_id: UUID, turn_id: UUID, generation: int) -> bool:
    """Lock the conversation and the turn until we commit; False where the turn is no longer this claim's."""
    return bool(ask(HOLD, (conversation_id, turn_id, generation)))


# The next waiting turn of the step takes our messages before its own; where none waits, the open burst carries us to
# its turn. Never past one that has no room for us: order is kept, and so is the limit.
GIVE_WAY = """
WITH ours AS (
    SELECT %s::uuid AS conversation, %s::uuid AS turn, %s::integer AS step, %s::jsonb AS input, %s::integer AS size,
        %s::integer AS bytes, %s::integer AS redrafts, %s::integer AS max_size, %s::integer AS max_bytes
), next AS (
    SELECT turns.id, jsonb_array_length(turns.input) AS size,
        (SELECT sum(octet_length(message ->> 'content')) FROM jsonb_array_elements(turns.input) AS message) AS bytes
    FROM turns, ours WHERE conversation_id = ours.conversation AND status = 'waiting' AND interview_step = ours.step
        AND turns.id > ours.turn
    ORDER BY turns.id LIMIT 1
), taken AS (
    UPDATE turns SET input = ours.input || turns.input, redrafts = greatest(turns.redrafts, ours.redrafts),
        updated_at = clock_timestamp()
    FROM next, ours
    WHERE turns.id = next.id AND next.size + ours.size <= max_size AND next.bytes + ours.bytes <= max_bytes
    RETURNING turns.id
), carried AS (
    UPDATE message_buffers SET carries = ours.turn, updated_at = clock_timestamp()
    FROM ours
    WHERE conversation_id = ours.conversation AND interview_step = ours.step AND carries IS NULL
        AND NOT EXISTS (SELECT FROM next)
        AND jsonb_array_length(messages) + ours.size <= max_size AND size_bytes + ours.bytes <= max_bytes
    RETURNING message_buffers.id
)
SELECT (SELECT id FROM taken), (SELECT id FROM carried)
"""


def give_way(  # noqa: PLR0913  one per value of the statement
    conversation_id: UUID, turn_id: UUID, *, step: int, messages: list[dict[str, Any]], redrafts: int, window: Window
) -> tuple[UUID | None, UUID | None]:
    """Hand the messages to the turn that waits next, or to the burst that is open: which of them has taken us."""
    size = sum(len(message["content"].encode()) for message in messages)
    values = (
        conversation_id, turn_id, step, encode(messages), len(messages), size, redrafts, window.max_size,
        window.max_bytes,
    )  # fmt: skip
    [(into_turn, into_burst)] = ask(GIVE_WAY, values)
    return into_turn, into_burst


END = """
UPDATE turns SET status = %s, lease_until = NULL, error = '', trace = %s::jsonb, draft = %s, reply_id = %s::uuid,
    superseded_by = %s::uuid, agent_version = %s::integer,
    input_tokens = least(input_tokens::bigint + %s, 2147483647),
    output_tokens = least(output_tokens::bigint + %s, 2147483647),
    finished_at = clock_timestamp(), updated_at = clock_timestamp()
WHERE id = %s RETURNING id
"""


def end(  # noqa: PLR0913  keyword-only, one per column
    turn_id: UUID,
    status: TurnStatus,
    outcome: Outcome,
    *,
    reply_id: UUID | None = None,
    agent_version: int | None = None,
    draft: str = "",
    superseded_by: UUID | None = None,
) -> None:
    """The turn is over; the caller holds it."""
    usage, trace = outcome.usage, {**outcome.trace, "outcome": type(outcome).__name__.lower(), **_reason(outcome)}
    values = (
        status.value, encode(trace), draft, reply_id, superseded_by, agent_version, usage.input_tokens,
        usage.output_tokens, turn_id,
    )  # fmt: skip
    ask(END, values)


# An interview that has begun goes on with the version it began with: the answers stay comparable. And it moves on only
# from the step the burst belongs to: a late answer never moves it back.
MOVE_ON = """
WITH said AS (
    SELECT %s::uuid AS conversation, %s::integer AS version, %s::integer AS from_step, %s::integer AS to_step
), moved AS (
    UPDATE conversations SET
        interview_step = CASE WHEN interview_step = from_step THEN coalesce(to_step, interview_step)
            ELSE interview_step END,
        agent_version = coalesce(agent_version, pinned.version)
    FROM said LEFT JOIN LATERAL (
        SELECT agent_versions.version FROM agent_versions JOIN conversations AS its USING (agent_id)
        WHERE its.id = said.conversation AND agent_versions.version = said.version AND config ->> 'kind' = 'interview'
    ) AS pinned ON true
    WHERE conversations.id = said.conversation
        AND (interview_step = from_step AND interview_step <> to_step
            OR agent_version IS NULL AND pinned.version IS NOT NULL)
)
SELECT EXISTS (SELECT FROM turns WHERE conversation_id = said.conversation AND status IN ('waiting', 'running')
    AND id <> %s) FROM said
"""


def move_on(
    conversation_id: UUID, turn_id: UUID, *, from_step: int, to_step: int | None, agent_version: int | None
) -> bool:
    """The conversation goes on to the next step, with the version that answered. Does another turn wait for us?"""
    [(waits,)] = ask(MOVE_ON, (conversation_id, agent_version, from_step, to_step, turn_id))
    return bool(waits)


def text_of(outcome: Outcome) -> str:
    return "" if isinstance(outcome, Silent) else outcome.text


def _reason(outcome: Outcome) -> dict[str, str]:
    return {} if isinstance(outcome, Replied) else {"reason": outcome.reason}
