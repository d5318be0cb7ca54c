"""Who answers, and the record of deeds: agents and their versions, tools, the runtime, checkpoints, the audit log.

It knows `search` and `config`.
"""

import os

# Read when LangGraph is imported: checkpoints are data, and nothing they name is ever imported or called. And no run
# is reported to a service of others because of a variable that was meant for another program.
os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
os.environ["LANGSMITH_TRACING"] = os.environ["LANGCHAIN_TRACING_V2"] = "false"
