"""Numbers of /metrics about agents and their tools."""

from config.metrics import NUMBERS, Number

NUMBERS += [
    Number(
        "parley_tool_calls_open",
        "Tool calls that wait for staff: for an approval, or because nobody knows whether they happened.",
        "SELECT count(*), status FROM tool_calls WHERE status IN ('waiting', 'unknown') GROUP BY status",
        labels=["status"],
    ),
]
