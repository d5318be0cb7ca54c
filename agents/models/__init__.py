"""The tables of who answers and of what was done, one file each."""

from agents.models.agent import Agent
from agents.models.agent_version import AgentVersion, Origin
from agents.models.audit_entry import AuditEntry, Status
from agents.models.audit_link import AuditLink
from agents.models.checkpoint_thread import CheckpointThread
from agents.models.tool import Tool
from agents.models.tool_call import CallStatus, ToolCall

__all__ = [
    "Agent",
    "AgentVersion",
    "AuditEntry",
    "AuditLink",
    "CallStatus",
    "CheckpointThread",
    "Origin",
    "Status",
    "Tool",
    "ToolCall",
]
