"""The tables of who answers and of what was done, one file each."""

from agents.models.agent import Agent
from agents.models.agent_version import AgentVersion, Origin
from agents.models.audit_entry import AuditEntry, Status
from agents.models.audit_link import AuditLink
from agents.models.tool import Tool

__all__ = ["Agent", "AgentVersion", "AuditEntry", "AuditLink", "Origin", "Status", "Tool"]
