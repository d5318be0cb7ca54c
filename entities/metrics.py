"""What /metrics tells of entities."""

from config.metrics import NUMBERS, Number

NUMBERS += [
    Number(
        "parley_entity_changes_last_hour",
        "Values written in the last hour, by who writes.",
        # By the primary key, which sorts by time: the newest rows alone are read.
        "SELECT count(*), kind FROM"
        " (SELECT kind, created_at FROM entity_changes ORDER BY id DESC LIMIT 100000) AS newest"
        " WHERE created_at > clock_timestamp() - interval '1 hour' GROUP BY kind",
        labels=["kind"],
    ),
]
