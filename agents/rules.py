"""What the database holds of agents and the record, by name (config/rules.py)."""

from config.rules import declare

declare("agents", unique=["agents_config_path_key", "agents_name_key"])
declare(
    "agent_versions",
    triggers=["agent_versions_keep_all", "agent_versions_write_once"],
    unique=["agent_versions_one_per_number"],
)
declare("audit_log", triggers=["audit_log_chained", "audit_log_keep_all", "audit_log_write_once"])
declare("audit_chain", triggers=["audit_chain_keep_all", "audit_chain_write_once"], unique=["audit_chain_entry_id_key"])
declare("tools", unique=["tools_name_key"])
declare("tool_calls", unique=["tool_calls_once"])
