"""The staff pages of agents, one file each."""

from agents.admin.agent import AgentAdmin
from agents.admin.audit_entry import AuditEntryAdmin
from agents.admin.runtime import CheckpointThreadAdmin, ToolCallAdmin
from agents.admin.tool import ToolAdmin

__all__ = ["AgentAdmin", "AuditEntryAdmin", "CheckpointThreadAdmin", "ToolAdmin", "ToolCallAdmin"]
