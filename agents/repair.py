"""A thread wedged by a tool call without a result: the calls are answered as interrupted, nothing else is touched.

A turn heals by itself when it is run again; this is for threads that somebody wants to read or go on from otherwise.
"""

from __future__ import annotations

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage

from agents import audit, checkpoints, graph
from agents.calls import shown
from agents.models import ToolCall

INTERRUPTED = "The run was interrupted before this call had a result. It was not called."


def orphans(messages: list[AnyMessage]) -> list[tuple[str, str]]:
    """Calls without a result: id and tool."""
    answered = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
    return [
        (str(call["id"]), call["name"])
        for message in messages
        if isinstance(message, AIMessage)
        for call in message.tool_calls
        if call["id"] not in answered
    ]


def repair(turn_id: str, *, dry_run: bool = False, by: str = "system") -> list[str]:
    """Answer what was never answered: with the recorded result where the call happened. Returns the calls."""
    found = checkpoints.state(turn_id)
    wedged = orphans(found.checkpoint["channel_values"].get("messages", [])) if found else []
    if wedged and not dry_run:
        recorded = {row.number: shown(row) for row in ToolCall.objects.filter(turn_id=turn_id)}
        answers = [
            ToolMessage(
                recorded.get(int(id_.removeprefix("call_")), INTERRUPTED) if id_.startswith("call_") else INTERRUPTED,
                tool_call_id=id_,
                name=name,
            )
            for id_, name in wedged
        ]
        with checkpoints.outages_are_outages():
            graph.plain().update_state(checkpoints.at(turn_id), {"messages": answers}, as_node="tools")
        audit.record("checkpoint.repair", by, ("turn", turn_id), {"calls": [name for _id, name in wedged]})
    return [f"{name} ({id_})" for id_, name in wedged]
