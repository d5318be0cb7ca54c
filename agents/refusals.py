"""What an agent was refused is a deed of its own."""

from __future__ import annotations

from agents import audit
from agents.tools import Call


def record_refusal(call: Call, tool: str, reason: str) -> None:
    """Put it on record, in the transaction of the call's row; never what a person wrote."""
    audit.record(
        "tool.refuse",
        f"agent {call.agent}" if call.agent else "agent",
        ("turn", call.turn_id),
        {"tool": tool, "number": call.number, "reason": reason[:200], "conversation": str(call.conversation_id)},
        on_behalf_of=f"user {call.user_id}",
        status="refused",
    )
