"""Who answers, and the record of deeds: agents and their versions, tools, the runtime, checkpoints, the audit log.

It knows `search` and `config`.
"""
