"""News of what staff decided about a tool call, for the person; the agent reads the result in its next turn."""

from __future__ import annotations

from agents.approvals import TOLD
from agents.llm.phrases import language_of, phrase
from agents.models import CallStatus, ToolCall
from conversations import log, outbox
from conversations.models import Conversation, Message

PHRASES = {
    CallStatus.DONE: "approved",
    CallStatus.FAILED: "approved_failed",
    CallStatus.UNKNOWN: "approved_unknown",
    CallStatus.DENIED: "denied",
}


def tell(call: ToolCall) -> None:
    """In the transaction of the decision; a conversation that was erased meanwhile hears nothing."""
    if not Conversation.objects.filter(pk=call.conversation_id).exists():
        return
    words = phrase(PHRASES[CallStatus(call.status)], _language(call))
    outbox.enqueue(log.append(call.conversation_id, "assistant", words, metadata={"tool_call": str(call.pk)}))


def _language(call: ToolCall) -> str:
    said = Message.objects.filter(conversation=call.conversation_id, role="user").order_by("-message_index")
    return language_of(list(said.values_list("content", flat=True)[:3]))


TOLD.append(tell)
