"""How a time is written for programs: RFC 3339 in UTC, with all microseconds, so that equal times are equal texts."""

from datetime import UTC, datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

IN_SQL = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')"""


def as_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


class Encoder(DjangoJSONEncoder):
    """Django's own would cut microseconds off."""

    def default(self, o: Any) -> Any:
        return as_text(o) if isinstance(o, datetime) else super().default(o)
